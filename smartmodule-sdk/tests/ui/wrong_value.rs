use thalweg_smartmodule::{Record, RecordData, Result, smartmodule};

#[smartmodule(map)]
fn length(record: &Record) -> Result<(Option<RecordData>, usize)> {
    Ok((record.key.clone(), record.value.len()))
}

fn main() {}
