//! What is generated is what is kept.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

#[test]
fn the_kept_definitions_are_those_of_the_types() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds");
    let kept: BTreeMap<String, String> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read_to_string(entry.path()).unwrap())
        })
        .collect();

    let generated: BTreeMap<_, _> = thalweg_k8s_crd::crd_files().unwrap().into_iter().collect();

    let names = |files: &BTreeMap<String, String>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        names(&kept),
        names(&generated),
        "run `cargo xtask generate`"
    );
    for (name, content) in &generated {
        assert!(
            kept[name] == *content,
            "{name} has drifted: run `cargo xtask generate`"
        );
    }
}
