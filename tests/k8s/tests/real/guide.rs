//! What the guide tells a reader to type, from the operator's installation to the end, on real nodes.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use thalweg_tests_cluster::program_path;
use thalweg_tests_docs::{repository, shell_script};
use thalweg_tests_k8s::{Alone, Instance};

/// All flights, and those that left more than 60 minutes late.
const FLIGHTS: &str = "336776";
const LATE: &str = "26581";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes with real nodes: `cargo xtask k8s-real`"]
async fn the_guide_leads_from_nothing_to_a_cluster_that_grows_shrinks_changes_and_comes_back() {
    // Its operator is for all namespaces: nobody else may install one meanwhile.
    let alone = Alone::new().await;
    alone.forget_resources();
    let instance = Instance::of_this_run();
    let home = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(repository(), home.path().join("thalweg")).unwrap();
    // The page chooses a namespace, which is nobody else's business.
    let kubeconfig = home.path().join("kubeconfig");
    std::fs::copy(instance.kubeconfig(), &kubeconfig).unwrap();
    let programs = program_path("thalweg").unwrap();
    let path = std::env::var_os("PATH").unwrap();
    let folders = [PathBuf::from(programs.parent().unwrap())];
    let folders = folders.into_iter().chain(std::env::split_paths(&path));
    let page = std::fs::read_to_string(repository().join("docs/guide/kubernetes.md")).unwrap();
    let script = format!("set -euxo pipefail\n{}", shell_script(&page));

    let output = Command::new("timeout")
        .args(["900", "bash", "-c", &script])
        .current_dir(home.path())
        .env("HOME", home.path())
        .env("KUBECONFIG", &kubeconfig)
        .env("PATH", std::env::join_paths(folders).unwrap())
        .env("THALWEG_CONFIG", home.path().join("profiles.toml"))
        .stdin(Stdio::null())
        .output()
        .unwrap();

    drop(alone);
    let printed = String::from_utf8_lossy(&output.stdout);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}\n{told}");
    let lines = |count: &str| printed.lines().filter(|line| line.trim() == count).count();
    assert_eq!(lines(FLIGHTS), 4, "{printed}");
    assert_eq!(lines(LATE), 1, "{printed}");
}
