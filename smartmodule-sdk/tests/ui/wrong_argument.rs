use thalweg_smartmodule::{Result, smartmodule};

#[smartmodule(filter)]
fn keep(line: &str, delay: u32) -> Result<bool> {
    Ok(line.is_empty() && delay > 60)
}

fn main() {}
