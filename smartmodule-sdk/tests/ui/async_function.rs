use thalweg_smartmodule::{Record, Result, smartmodule};

#[smartmodule(filter)]
async fn keep(_: &Record) -> Result<bool> {
    Ok(true)
}

fn main() {}
