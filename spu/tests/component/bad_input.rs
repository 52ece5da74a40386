//! What can't start says what is wrong and what to do.

use thalweg_types::{ErrorCode, SpuId};

use crate::harness::{options, start, try_start};
use crate::scripted_sc::{Script, ScriptedSc};

/// Starts in vain, and returns the message with its causes.
async fn refusal(options: thalweg_spu::SpuOptions) -> String {
    let error = try_start(options).await.err().expect("it must not start");
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn assert_says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "`{text}` does not say `{word}`");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_spus_can_not_share_a_data_directory() {
    let (script, dir) = (Script::new(), tempfile::tempdir().unwrap());
    let sc = ScriptedSc::start(&script).await;
    let spu = start(&sc.address.to_string(), dir.path()).await;

    let text = refusal(options(&sc.address.to_string(), dir.path())).await;

    assert_says(&text, &[&dir.path().display().to_string(), "in use"]);
    spu.stop().await;
    start(&sc.address.to_string(), dir.path())
        .await
        .stop()
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_spus_data_directory_is_refused() {
    let (script, dir) = (Script::new(), tempfile::tempdir().unwrap());
    let sc = ScriptedSc::start(&script).await;
    start(&sc.address.to_string(), dir.path())
        .await
        .stop()
        .await;
    let mut other = options(&sc.address.to_string(), dir.path());
    other.id = SpuId(7);

    let text = refusal(other).await;

    assert_says(&text, &["SPU 0", "SPU 7", "--id 0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_clusters_data_directory_is_refused_and_keeps_its_data() {
    let (script, dir) = (Script::new(), tempfile::tempdir().unwrap());
    let sc = ScriptedSc::start(&script).await;
    start(&sc.address.to_string(), dir.path())
        .await
        .stop()
        .await;
    script.become_another_cluster();

    let spu = start(&sc.address.to_string(), dir.path()).await;
    let failed = spu.failed().await.to_string();

    assert_says(&failed, &["cluster", &dir.path().display().to_string()]);
    spu.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_data_directory_is_refused() {
    let (script, dir) = (Script::new(), tempfile::tempdir().unwrap());
    let sc = ScriptedSc::start(&script).await;
    start(&sc.address.to_string(), dir.path())
        .await
        .stop()
        .await;
    let directory = dir.path().display().to_string();
    for (file, named) in [("spu.json", &*directory), ("cluster.json", "cluster.json")] {
        let path = dir.path().join(file);
        let before = std::fs::read_to_string(&path).unwrap();
        let mut json: serde_json::Value = serde_json::from_str(&before).unwrap();
        json["format_version"] = 99.into();
        std::fs::write(&path, json.to_string()).unwrap();

        let text = refusal(options(&sc.address.to_string(), dir.path())).await;

        assert_says(&text, &[named, "99", "upgrade"]);
        std::fs::write(&path, before).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut options = options("127.0.0.1:1", dir.path());
    options.listen = taken.local_addr().unwrap();

    let text = refusal(options).await;

    assert_says(
        &text,
        &[&taken.local_addr().unwrap().to_string(), "--listen"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn listening_everywhere_needs_an_address_for_clients() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options("127.0.0.1:1", dir.path());
    options.listen = "0.0.0.0:0".parse().unwrap();

    assert_says(&refusal(options).await, &["--advertise"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_by_the_sc_at_the_start_ends_it() {
    let (script, dir) = (Script::new(), tempfile::tempdir().unwrap());
    script.refuse(Some((ErrorCode::InvalidRequest, "SPU id 0 is in use")));
    let sc = ScriptedSc::start(&script).await;

    let text = refusal(options(&sc.address.to_string(), dir.path())).await;

    assert_says(&text, &[&sc.address.to_string(), "SPU id 0 is in use"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_state_is_named() {
    let dir = tempfile::tempdir().unwrap();
    for file in ["cluster.json", "producer-ids.json"] {
        let path = dir.path().join(file);
        std::fs::write(&path, "not json").unwrap();

        let text = refusal(options("127.0.0.1:1", dir.path())).await;

        assert_says(&text, &[file, "remove it"]);
        std::fs::remove_file(&path).unwrap();
    }
}
