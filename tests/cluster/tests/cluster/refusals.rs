//! Processes that must not start: each says what is wrong and what to do.

use thalweg_tests_cluster::{LocalCluster, Node, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_second_spu_on_one_data_directory_is_refused() {
    let cluster = LocalCluster::start(1).await;
    let mut arguments = cluster.spu_arguments(1, &cluster.path("spu-0"));
    arguments[2] = "--listen=127.0.0.1:0".to_owned();

    let error = Node::start("thalweg-spu", &arguments, &cluster.path("second.log")).unwrap_err();

    let text = error.to_string();
    assert!(text.contains("spu-0") && text.contains("in use"), "{text}");
    cluster.create_topic("still-works", 1, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_sc_on_one_data_directory_is_refused() {
    let cluster = LocalCluster::start(0).await;
    let arguments = [
        "--listen=127.0.0.1:0".to_owned(),
        format!("--data-dir={}", cluster.path("sc").display()),
    ];

    let error = Node::start("thalweg-sc", &arguments, &cluster.path("second.log")).unwrap_err();

    assert!(error.to_string().contains("in use"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_of_another_cluster_is_refused_and_left_as_it_was() {
    let mut first = LocalCluster::start(1).await;
    let topic = first.create_topic("numbers", 1, &[]).await;
    first.take_spu(0).stop().unwrap();
    let second = LocalCluster::start(0).await;
    let mut arguments = second.spu_arguments(0, &first.path("spu-0"));
    arguments[2] = "--listen=127.0.0.1:0".to_owned();

    // It has a state to serve by, so it may come up before the SC refuses it.
    let log = second.path("foreign.log");
    let refused = Node::start("thalweg-spu", &arguments, &log);
    eventually("the refusal is logged", || async {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        text.contains("belongs to cluster").then_some(())
    })
    .await;
    drop(refused);

    first.start_spu(0);
    first.all_online().await;
    let client = first.client().await;
    assert!(client.admin().describe_topic(&topic).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_of_a_newer_format_is_refused() {
    let mut cluster = LocalCluster::start(1).await;
    cluster.take_spu(0).stop().unwrap();
    let path = cluster.path("spu-0").join("spu.json");
    let mut identity: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    identity["format_version"] = 9_999.into();
    std::fs::write(&path, identity.to_string()).unwrap();

    let error = cluster.try_start_spu(0).unwrap_err().to_string();

    assert!(
        error.contains("9999") && error.contains("upgrade"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_another_live_spu_holds_is_refused() {
    let cluster = LocalCluster::start(1).await;
    let mut arguments = cluster.spu_arguments(0, &cluster.path("other"));
    arguments[2] = "--listen=127.0.0.1:0".to_owned();

    let error = Node::start("thalweg-spu", &arguments, &cluster.path("second.log")).unwrap_err();

    let text = error.to_string();
    assert!(text.contains("SPU 0") || text.contains("id 0"), "{text}");
    cluster.create_topic("still-works", 1, &[]).await;
}
