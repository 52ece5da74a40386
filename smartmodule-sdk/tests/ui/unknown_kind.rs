use thalweg_smartmodule::{Record, Result, smartmodule};

#[smartmodule(fliter)]
fn keep(_: &Record) -> Result<bool> {
    Ok(true)
}

fn main() {}
