//! Writes what the chart has of the operator's rights; `cargo xtask generate` runs it.

use std::error::Error;
use std::fs;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../chart/files");
    fs::create_dir_all(&folder)?;
    for (name, content) in thalweg_operator::rights::files() {
        fs::write(folder.join(name), content)?;
    }
    Ok(())
}
