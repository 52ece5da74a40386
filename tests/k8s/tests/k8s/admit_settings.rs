//! Every setting that a resource takes is one that its program knows.

use std::process::Command;

use thalweg_tests_cluster::program_path;
use thalweg_tests_k8s::Namespace;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes: `cargo xtask k8s`"]
async fn settings_are_variables_that_the_programs_know() {
    let namespace = Namespace::new("settings").await;
    namespace.establish_resources();

    for (definition, path, program, prefix) in [
        ("spugroups", "/settings", "thalweg-spu", "THALWEG_SPU_"),
        (
            "clusters",
            "/sc/properties/settings",
            "thalweg-sc",
            "THALWEG_SC_",
        ),
    ] {
        let name = format!("{definition}.thalweg.dev");
        let definition = namespace.get(&["crd", &name]).unwrap();
        let spec = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
        let settings = definition.pointer(&format!("{spec}{path}/properties"));
        let output = Command::new(program_path(program).unwrap())
            .arg("--help")
            .output()
            .unwrap();
        let help = String::from_utf8_lossy(&output.stdout).into_owned();

        let settings = settings.and_then(|one| one.as_object()).unwrap();
        assert!(settings.len() > 5, "{settings:?}");
        for setting in settings.keys() {
            let variable = format!("{prefix}{}=", upper_snake(setting));
            assert!(help.contains(&variable), "{program} knows no {variable}");
        }
    }
}

fn upper_snake(camel: &str) -> String {
    let mut name = String::new();
    for letter in camel.chars() {
        if letter.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}
