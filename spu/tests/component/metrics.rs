//! What those who watch an SPU fetch from it.

use std::time::Duration;

use thalweg_smartengine::StepMetrics;
use thalweg_spu::Place;

use crate::harness::{get, options, try_start};
use crate::scripted_sc::{Script, ScriptedSc};

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_served_as_openmetrics_text_where_asked_for() {
    let (script, dir) = (Script::new(), tempfile::tempdir().unwrap());
    let sc = ScriptedSc::start(&script).await;
    let mut options = options(&sc.address.to_string(), dir.path());
    options.metrics_listen = Some("127.0.0.1:0".parse().unwrap());
    let spu = try_start(options).await.unwrap();
    let address = spu.metrics_address().unwrap();
    let mut late = spu
        .context()
        .metrics
        .smartmodules()
        .of("late", Place::Consume);

    late.add(&StepMetrics {
        calls: 3,
        time: Duration::from_millis(250),
        ..StepMetrics::default()
    });
    let found = get(address, "/metrics").await;
    let missing = get(address, "/").await;

    assert!(found.starts_with("HTTP/1.1 200"), "{found}");
    assert!(found.contains("application/openmetrics-text; version=1.0.0"));
    let line = r#"thalweg_smartmodule_calls_total{module="late",place="consume"} 3"#;
    assert!(found.contains(line), "{found}");
    assert!(missing.starts_with("HTTP/1.1 404"), "{missing}");
    spu.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_for_metrics_that_is_taken_is_named_with_its_flag() {
    let (script, dir) = (Script::new(), tempfile::tempdir().unwrap());
    let sc = ScriptedSc::start(&script).await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut options = options(&sc.address.to_string(), dir.path());
    options.metrics_listen = Some(taken.local_addr().unwrap());

    let Err(error) = try_start(options).await else {
        panic!("it started");
    };

    assert!(error.to_string().contains("--metrics-listen"), "{error}");
}
