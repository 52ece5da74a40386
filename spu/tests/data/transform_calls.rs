//! Transforms whose modules ask a service by HTTP: each answer counts once, whatever happens in between.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use thalweg_proto::v1;
use thalweg_types::OnError;
use tokio::task::JoinSet;

use crate::harness::{leader, until};
use crate::setup::TestSpu;
use crate::topic_chains::register;
use crate::transform_state::{CHANGELOG, kept, produce_all, spu_with_changelog};
use crate::transforms::{
    again, elect, on_error, produced, spu_with_flags, transform, with_param, written,
};

/// A service whose every answer is another one.
#[derive(Debug, Default)]
struct Service {
    state: Mutex<Served>,
}

#[derive(Debug, Default)]
struct Served {
    /// How often each body was asked about, and with which keys.
    asked: BTreeMap<String, Vec<String>>,
    authorization: Option<String>,
    answered: usize,
    at_once: usize,
    at_once_max: usize,
    /// So many are refused first.
    refuse: usize,
}

impl Service {
    fn served<T>(&self, look: impl FnOnce(&mut Served) -> T) -> T {
        look(&mut self.state.lock().unwrap())
    }

    fn answered(&self) -> usize {
        self.served(|served| served.answered)
    }
}

/// A request that is looked at.
struct Present(Arc<Service>);

impl Present {
    fn of(service: &Arc<Service>) -> Self {
        service.served(|served| {
            served.at_once += 1;
            served.at_once_max = served.at_once_max.max(served.at_once);
        });
        Self(Arc::clone(service))
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.0.served(|served| served.at_once -= 1);
    }
}

async fn score(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, String) {
    // Whoever asks may be gone meanwhile, and then this is dropped.
    let present = Present::of(&service);
    tokio::time::sleep(Duration::from_millis(5)).await;
    drop(present);
    service.served(|served| {
        let text = |name: &str| Some(headers.get(name)?.to_str().ok()?.to_owned());
        let key = text("idempotency-key").unwrap();
        let body = String::from_utf8(body.to_vec()).unwrap();
        served.asked.entry(body.clone()).or_default().push(key);
        served.authorization = text("authorization");
        if served.refuse > 0 {
            served.refuse -= 1;
            return (StatusCode::SERVICE_UNAVAILABLE, "later".to_owned());
        }
        if body.ends_with("bad") {
            return (StatusCode::UNPROCESSABLE_ENTITY, "no such thing".to_owned());
        }
        served.answered += 1;
        (StatusCode::OK, served.answered.to_string())
    })
}

/// The service, its address, and the task that runs it.
struct Running {
    service: Arc<Service>,
    origin: String,
    /// Ended when it is dropped.
    task: JoinSet<()>,
}

async fn serve(address: &str) -> Running {
    let service = Arc::new(Service::default());
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new()
        .route("/score", post(score))
        .with_state(Arc::clone(&service));
    let mut task = JoinSet::new();
    task.spawn(async move { axum::serve(listener, router).await.unwrap() });
    Running {
        service,
        origin,
        task,
    }
}

/// A transform whose module asks the service about each record.
fn scored(service: &Running, change: impl FnOnce(&mut v1::Capabilities)) -> v1::Transform {
    let url = format!("{}/score", service.origin);
    let mut transform = with_param(transform("scored", &["out"]), "url", &url);
    let mut capabilities = v1::Capabilities {
        http: Some(v1::HttpCapability {
            allow: vec![service.origin.clone()],
            timeout_ms: Some(2_000),
            concurrency: Some(4),
            retries: Some(2),
        }),
        ..v1::Capabilities::default()
    };
    change(&mut capabilities);
    transform.spec.as_mut().unwrap().capabilities = Some(capabilities);
    transform
}

fn numbered(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| format!("r{number}")).collect()
}

async fn produce_numbered(spu: &TestSpu, range: std::ops::Range<usize>) {
    let values = numbered(range);
    let values: Vec<_> = values.iter().map(String::as_str).collect();
    produced(spu, 0, &values).await;
}

/// What came before ` scores `.
fn subjects(written: &[String]) -> Vec<&str> {
    let subjects = written.iter().map(|value| value.split(' ').next().unwrap());
    subjects.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_record_has_one_answer_in_its_order_however_often_it_was_asked() {
    let service = serve("127.0.0.1:0").await;
    let mut spu = spu_with_changelog().await;
    register(&spu, "scored");
    spu.script.set_transform(scored(&service, |_| ()));
    let mut before: Vec<String> = Vec::new();
    for round in 0..6 {
        let (from, until) = (round * 100, (round + 1) * 100);
        produce_numbered(&spu, from..until).await;
        // In the middle of it.
        written(&spu, "out", 0, from + 10).await;
        match round {
            0 | 3 => spu = again(spu).await,
            1 => elect(&spu, CHANGELOG).await,
            2 => elect(&spu, "t").await,
            _ => elect(&spu, "out").await,
        }
        let now = written(&spu, "out", 0, until).await;
        assert_eq!(now[..before.len()], before, "what is written stays");
        assert_eq!(subjects(&now), numbered(0..until));
        before = now;
    }
    service.service.served(|served| {
        assert!(
            served.at_once_max > 1 && served.at_once_max <= 2 * 4,
            "one runner ends, another begins"
        );
        for (body, keys) in &served.asked {
            let same = keys.iter().all(|key| *key == keys[0]);
            assert!(same, "{body} was asked about as {keys:?}");
        }
    });
    spu.spu.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_written_down_is_not_asked_for_again() {
    let service = serve("127.0.0.1:0").await;
    let spu = spu_with_changelog().await;
    register(&spu, "scored");
    spu.script.set_transform(scored(&service, |_| ()));
    produce_numbered(&spu, 0..1).await;
    written(&spu, "out", 0, 1).await;
    // It is through, so that its answer is forgotten with the next checkpoint.
    let told = spu.script.wait_for_runner(0, |told| told.position == 1);
    told.await;

    spu.script.elect("out", 0, None);
    let before = kept(&spu);
    produce_numbered(&spu, 1..11).await;
    until("the answers are in the changelog", || {
        (kept(&spu) >= before + 10).then_some(())
    })
    .await;
    let spu = again(spu).await;
    spu.script.elect("out", 0, Some(0));
    leader(&spu.spu, "out", 0).await;

    let written = written(&spu, "out", 0, 11).await;
    assert_eq!(service.service.answered(), 11);
    let scores = (1..12).map(|number| format!(" scores {number}"));
    let mut found: Vec<_> = written
        .iter()
        .map(|value| &value[value.find(' ').unwrap()..])
        .collect();
    found.sort_by_key(|text| text.len());
    let mut scores: Vec<_> = scores.collect();
    scores.sort();
    found.sort_unstable();
    assert_eq!(found, scores, "each answer once");
    assert_eq!(subjects(&written), numbered(0..11));
    spu.spu.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_busy_is_asked_again_and_one_that_refuses_is_not() {
    let service = serve("127.0.0.1:0").await;
    let spu = spu_with_changelog().await;
    register(&spu, "scored");
    service.service.served(|served| served.refuse = 2);
    let transform = on_error(scored(&service, |_| ()), &OnError::Skip);
    spu.script.set_transform(transform);

    produced(&spu, 0, &["a"]).await;
    assert_eq!(written(&spu, "out", 0, 1).await, ["a scores 1"]);
    produced(&spu, 0, &["very bad", "b"]).await;
    assert_eq!(written(&spu, "out", 0, 2).await[1], "b scores 2");

    service.service.served(|served| {
        assert_eq!(served.asked["a"].len(), 3);
        assert_eq!(served.asked["very bad"].len(), 1);
    });
    let told = spu.script.wait_for_runner(0, |told| told.failed == 1);
    told.await;
    spu.spu.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transform_waits_for_a_service_that_is_away_and_loses_nothing() {
    let mut service = serve("127.0.0.1:0").await;
    let address = service.origin.strip_prefix("http://").unwrap().to_owned();
    let spu = spu_with_changelog().await;
    register(&spu, "scored");
    let transform = scored(&service, |granted| {
        granted.http.as_mut().unwrap().retries = Some(0);
    });
    spu.script.set_transform(transform);
    produced(&spu, 0, &["a"]).await;
    written(&spu, "out", 0, 1).await;
    service.task.shutdown().await;

    produced(&spu, 0, &["b", "c"]).await;
    let told = spu.script.wait_for_runner(0, |told| {
        told.state() == v1::TransformRunState::Waiting && told.reason.contains("has no answer")
    });
    let reason = told.await.reason;
    assert!(reason.contains("`scored@1.0.0`"), "{reason}");

    let back = serve(&address).await;
    let found = written(&spu, "out", 0, 3).await;
    assert_eq!(subjects(&found), ["a", "b", "c"]);
    drop(back);
    spu.spu.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_allowed_is_not_asked_and_fails_the_record() {
    let (service, other) = (serve("127.0.0.1:0").await, serve("127.0.0.1:0").await);
    let spu = spu_with_changelog().await;
    register(&spu, "scored");
    let elsewhere = scored(&service, |granted| {
        granted.http.as_mut().unwrap().allow = vec![other.origin.clone()];
    });
    spu.script.set_transform(elsewhere);
    produced(&spu, 0, &["a"]).await;

    let told = spu
        .script
        .wait_for_runner(0, |told| told.state() == v1::TransformRunState::Failed);
    let reason = told.await.reason;

    let advice = format!("--allow-http {}", service.origin);
    assert!(reason.contains(&advice), "{reason}");
    assert_eq!(service.service.answered() + other.service.answered(), 0);
    spu.spu.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_goes_into_the_header_that_names_it_and_is_read_anew() {
    let service = serve("127.0.0.1:0").await;
    let folder = tempfile::tempdir().unwrap();
    let flag = format!("--secrets-dir={}", folder.path().display());
    let spu = spu_with_flags(&[&flag], 1, &[("out", 1), (CHANGELOG, 1)]).await;
    register(&spu, "scored");
    let transform = scored(&service, |granted| {
        granted.secrets = vec!["token".to_owned()];
    });
    spu.script
        .set_transform(with_param(transform, "secret", "token"));
    produced(&spu, 0, &["a"]).await;
    let told = spu.script.wait_for_runner(0, |told| {
        told.state() == v1::TransformRunState::Waiting && told.reason.contains("`token`")
    });
    told.await;

    for (number, secret) in [(1, "first\n"), (2, "second")] {
        std::fs::write(folder.path().join("token"), secret).unwrap();
        if number > 1 {
            produced(&spu, 0, &["b"]).await;
        }
        written(&spu, "out", 0, number).await;
        let sent = service
            .service
            .served(|served| served.authorization.clone());
        assert_eq!(sent, Some(format!("Bearer {}", secret.trim_end())));
    }
    let out = written(&spu, "out", 0, 2).await.concat();
    assert!(!out.contains("first") && !out.contains("second"));
    spu.spu.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_module_keeps_goes_on_after_restarts_and_under_other_leaders() {
    let mut spu = spu_with_changelog().await;
    register(&spu, "changed");
    let mut transform = transform("changed", &["out"]);
    transform.spec.as_mut().unwrap().capabilities = Some(v1::Capabilities {
        key_value: true,
        ..v1::Capabilities::default()
    });
    spu.script.set_transform(transform);
    let values = ["1", "1", "2", "2", "3", "1", "1", "1"];
    for (round, value) in values.into_iter().enumerate() {
        let record = (1_000, "stove", value.to_owned());
        produce_all(&spu, &[record.clone(), record]).await;
        let position = 2 * (i64::try_from(round).unwrap() + 1);
        let through = spu
            .script
            .wait_for_runner(0, |report| report.position == position);
        through.await;
        match round {
            0 | 5 => spu = again(spu).await,
            2 => elect(&spu, CHANGELOG).await,
            3 => elect(&spu, "t").await,
            _ => {}
        }
    }
    assert_eq!(written(&spu, "out", 0, 4).await, ["1", "2", "3", "1"]);
    spu.spu.stop().await;
}
