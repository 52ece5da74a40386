use thalweg_smartmodule::{Json, Result, smartmodule};

struct Flight;

#[smartmodule(filter)]
fn keep(_: Json<Flight>) -> Result<bool> {
    Ok(true)
}

fn main() {}
