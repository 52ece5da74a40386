use thalweg_smartmodule::{Record, Result, smartmodule};

#[smartmodule(map)]
fn length(record: &Record) -> Result<usize> {
    Ok(record.value.len())
}

fn main() {}
