//! The image runs on real nodes, with no more rights than the restricted level leaves.

use thalweg_tests_k8s::{Instance, Namespace, eventually};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes with real nodes: `cargo xtask k8s-real`"]
async fn every_program_runs_as_nobody_on_a_file_system_that_it_cannot_write() {
    let namespace = Namespace::new("image").await;
    let programs: [(&str, &[&str]); 4] = [
        ("cli", &["thalweg", "version"]),
        ("sc", &["thalweg-sc", "--version"]),
        ("spu", &["thalweg-spu", "--version"]),
        ("operator", &["thalweg-operator", "--version"]),
    ];

    let pod = Namespace::restricted_pod("programs", "node-0", &Instance::image(), &programs);
    namespace.apply_yaml(&pod.to_string());
    eventually("a pod whose programs have ended", async || {
        let pod = namespace.get(&["pod", "programs"])?;
        let phase = pod["status"]["phase"].as_str()?;
        matches!(phase, "Succeeded" | "Failed").then_some(())
    })
    .await;

    let version = env!("CARGO_PKG_VERSION");
    for (container, _) in programs {
        let log = namespace.run(&["logs", "programs", "--container", container]);
        assert!(log.contains(version), "{container}: {log}");
    }
    let pod = namespace.get(&["pod", "programs"]).unwrap();
    assert_eq!(pod["status"]["phase"], "Succeeded", "{pod:#}");
}
