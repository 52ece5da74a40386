//! Wrong input at the command line: the error names the thing, and nothing else is lost.

use thalweg_tests_cluster::LocalCluster;

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_is_too_large_is_named_and_those_before_it_are_produced() {
    let cluster = LocalCluster::start(1).await;
    cluster
        .create_topic("small", 1, &[("max.message.bytes", "2048")])
        .await;
    let lines = cluster.path("lines.txt");
    std::fs::write(&lines, format!("a\nb\n{}\nd\n", "x".repeat(4000))).unwrap();

    let produced = cluster.thalweg(&["produce", "small", "--file", &lines.to_string_lossy()]);
    let kept = cluster.thalweg(&["consume", "small", "-B", "-d"]);

    let errors = String::from_utf8(produced.stderr).unwrap();
    assert_eq!(produced.status.code(), Some(2), "{errors}");
    assert!(errors.contains("line 3"), "{errors}");
    assert!(errors.contains("`max.message.bytes`"), "{errors}");
    assert_eq!(kept.stdout, b"a\nb\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_several_topics_of_which_one_is_missing_deletes_none() {
    let cluster = LocalCluster::start(1).await;
    cluster.create_topic("there", 1, &[]).await;

    let deleted = cluster.thalweg(&["topic", "delete", "there", "missing"]);

    let errors = String::from_utf8(deleted.stderr).unwrap();
    assert_eq!(deleted.status.code(), Some(3), "{errors}");
    assert!(errors.contains("`missing`"), "{errors}");
    let described = cluster.thalweg(&["topic", "describe", "there"]);
    assert!(described.status.success());
}
