//! Writes `k8s/crds`; `cargo xtask generate` runs it.

use std::error::Error;
use std::fs;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds");
    fs::create_dir_all(&folder)?;
    for (name, content) in thalweg_k8s_crd::crd_files()? {
        fs::write(folder.join(name), content)?;
    }
    Ok(())
}
