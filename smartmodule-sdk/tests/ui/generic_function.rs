use thalweg_smartmodule::{Result, smartmodule};

#[smartmodule(map)]
fn pass<T: Into<String>>(value: T) -> Result<String> {
    Ok(value.into())
}

fn main() {}
