use thalweg_smartmodule::{Result, smartmodule};

struct Options;

#[smartmodule(init)]
fn init(_: Options) -> Result<()> {
    Ok(())
}

fn main() {}
