//! Writes the hostile corpus as `.wasm` files into a folder: to try one by hand, or as the seeds of a
//! fuzz target.

use std::path::PathBuf;

use anyhow::{Context, Result};
use thalweg_tests_hostile::{corpus, honest};

fn main() -> Result<()> {
    let folder = std::env::args_os()
        .nth(1)
        .map(PathBuf::from)
        .context("say which folder to write to")?;
    std::fs::create_dir_all(&folder)?;
    for module in corpus()? {
        std::fs::write(
            folder.join(&module.name).with_extension("wasm"),
            module.wasm,
        )?;
    }
    std::fs::write(folder.join("honest.wasm"), honest()?)?;
    Ok(())
}
