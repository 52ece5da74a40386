use thalweg_smartmodule::{Record, Result, smartmodule};

#[smartmodule(filter)]
fn keep(_: &Record) -> Result<u8> {
    Ok(1)
}

fn main() {}
