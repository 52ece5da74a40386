//! What the chart has is what the operator needs.

use std::fs;
use std::path::Path;

#[test]
fn the_rights_in_the_chart_are_those_of_the_operator() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../chart/files");

    for (name, content) in thalweg_operator::rights::files() {
        let kept = fs::read_to_string(folder.join(name)).unwrap();

        assert!(
            kept == content,
            "{name} has drifted: run `cargo xtask generate`"
        );
    }
}

#[test]
fn the_definitions_in_the_chart_are_those_that_are_generated() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../chart/files/crds");

    let target = fs::canonicalize(folder).unwrap();

    assert!(target.ends_with("k8s/crds"), "{}", target.display());
}
