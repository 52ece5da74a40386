//! What kubelet asks an SPU, and the files that it mounts for it.

use std::net::SocketAddr;
use std::path::Path;

use thalweg_spu::{Spu, SpuOptions, StartError};
use thalweg_types::SpuId;

use crate::harness::{get, leader, options, try_start, until, until_told, view_where};
use crate::scripted_sc::{SPU, Script, ScriptedSc};

/// An address that nothing listens on.
fn free_address() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

fn watched_options(sc: &str, dir: &Path) -> SpuOptions {
    let mut options = options(sc, dir);
    options.metrics_listen = Some(free_address());
    options
}

/// Waits until `/readyz` has that status and says that.
async fn readyz(address: SocketAddr, status: u16, text: &str) {
    let status = format!("HTTP/1.1 {status}");
    until_told(
        &format!("/readyz says {status} with `{text}`"),
        async || {
            // Its port may not be taken yet.
            tokio::net::TcpStream::connect(address).await.ok()?;
            let answer = get(address, "/readyz").await;
            (answer.starts_with(&status) && answer.contains(text)).then_some(())
        },
    )
    .await;
}

/// What goes on while an SPU starts, and the SPU.
async fn while_starting(options: SpuOptions, meanwhile: impl Future<Output = ()>) -> Spu {
    let (spu, ()) = tokio::join!(try_start(options), meanwhile);
    spu.unwrap()
}

/// Writes a file as kubelet does: whole, or not yet.
fn put(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, path).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_spu_is_started_before_an_sc_knows_it_and_ready_after() {
    let (script, dir) = (Script::new(), tempfile::tempdir().unwrap());
    let sc = free_address();
    let options = watched_options(&sc.to_string(), dir.path());
    let watched = options.metrics_listen.unwrap();
    let mut running = None;

    let spu = while_starting(options, async {
        readyz(watched, 503, &format!("waiting for the SC at `{sc}`")).await;
        for path in ["/startupz", "/livez"] {
            let answer = get(watched, path).await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        }
        running = Some(ScriptedSc::start_at(sc, &script).await);
    })
    .await;

    readyz(watched, 200, "ready").await;
    spu.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_spu_is_ready_while_it_serves_all_and_every_copy_is_in_sync() {
    let (script, dir) = (Script::new(), tempfile::tempdir().unwrap());
    let sc = ScriptedSc::start(&script).await;
    script.create_topic("orders", 2, &[]);
    let options = watched_options(&sc.address.to_string(), dir.path());
    let watched = options.metrics_listen.unwrap();
    let spu = try_start(options).await.unwrap();
    leader(&spu, "orders", 0).await;
    readyz(watched, 200, "ready").await;

    script.set_replicas("orders", 1, &[1, SPU], &[1]);
    script.elect("orders", 1, Some(1));
    readyz(
        watched,
        503,
        "orders-1: its copy is not in sync with its leader, SPU 1",
    )
    .await;
    script.set_replicas("orders", 1, &[1, SPU], &[1, SPU]);
    readyz(watched, 200, "ready").await;
    script.elect("orders", 1, None);
    readyz(watched, 503, "orders-1: it has no leader").await;
    script.elect("orders", 1, Some(SPU));
    readyz(watched, 200, "ready").await;

    // Without an SC what it last said holds.
    sc.stop().await;
    readyz(watched, 200, "ready").await;
    spu.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_an_spu_is_and_how_it_is_reached_come_from_files_that_may_be_late_and_change() {
    let (script, dir) = (Script::new(), tempfile::tempdir().unwrap());
    let sc = ScriptedSc::start(&script).await;
    let mounted = tempfile::tempdir().unwrap();
    let (rack, address) = (mounted.path().join("rack"), mounted.path().join("address"));
    let mut options = watched_options(&sc.address.to_string(), dir.path());
    options.rack_file = Some(rack.clone());
    options.advertise_file = Some(address.clone());
    options.host_ip = Some("10.0.0.7".parse().unwrap());
    let watched = options.metrics_listen.unwrap();

    let spu = while_starting(options, async {
        readyz(watched, 503, "`--rack-file`").await;
        put(&rack, "zone-b\n");
        readyz(watched, 503, "`--advertise-file`").await;
        put(&address, ":31000\n");
    })
    .await;
    put(&address, "no address\n");
    put(&address, "spu-0.example:9092\n");
    script.wait_for_registrations(2).await;

    let registered = script.registered();
    assert_eq!(registered[0].rack, "zone-b");
    assert_eq!(registered[0].data_address, "10.0.0.7:31000");
    assert_eq!(registered[1].data_address, "spu-0.example:9092");
    assert_eq!(registered[0].incarnation, registered[1].incarnation);
    spu.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_rack_file_is_no_rack_and_a_file_that_is_no_address_says_what_to_write() {
    let (script, dir) = (Script::new(), tempfile::tempdir().unwrap());
    let sc = ScriptedSc::start(&script).await;
    let mounted = tempfile::tempdir().unwrap();
    let (rack, address) = (mounted.path().join("rack"), mounted.path().join("address"));
    std::fs::write(&rack, "").unwrap();
    std::fs::write(&address, ":31000").unwrap();
    let mut options = options(&sc.address.to_string(), dir.path());
    options.rack_file = Some(rack);
    options.advertise_file = Some(address);

    let Err(error) = try_start(options).await else {
        panic!("it started");
    };

    assert!(error.to_string().contains("--host-ip"), "{error}");
    assert!(matches!(error, StartError::Advertise(_)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_counts_from_its_base() {
    let (script, dir) = (Script::new(), tempfile::tempdir().unwrap());
    let sc = ScriptedSc::start(&script).await;
    let mut options = options(&sc.address.to_string(), dir.path());
    options.id = SpuId(2);
    options.id_base = SpuId(100);

    let spu = try_start(options.clone()).await.unwrap();
    let registered = until("it registers", || script.registered().pop()).await;
    assert_eq!(registered.spu_id, 102);
    view_where(&spu, |view| view.cluster_id.is_some()).await;
    spu.stop().await;

    options.id_base = SpuId(i32::MAX);
    let Err(error) = try_start(options).await else {
        panic!("it started");
    };
    assert!(error.to_string().contains("--id-base"), "{error}");
}
