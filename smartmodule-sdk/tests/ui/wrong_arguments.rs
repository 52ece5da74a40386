use thalweg_smartmodule::{Record, RecordData, Result, smartmodule};

#[smartmodule(aggregate)]
fn sum(_: &Record) -> Result<RecordData> {
    Ok(RecordData::null())
}

fn main() {}
