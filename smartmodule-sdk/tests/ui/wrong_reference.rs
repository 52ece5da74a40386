use thalweg_smartmodule::{Result, smartmodule};

struct Flight;

#[smartmodule(filter)]
fn keep(_: &Flight) -> Result<bool> {
    Ok(true)
}

fn main() {}
