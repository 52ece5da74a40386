use thalweg_smartmodule::{Record, Result, smartmodule};

#[smartmodule(aggregate)]
fn count(count: u64, _: &Record) -> Result<u64> {
    Ok(count + 1)
}

fn main() {}
