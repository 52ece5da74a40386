//! Every hostile module on a live SPU, sent by `thalweg consume` as a user would, while neighbours
//! produce and consume there: with and without a module of their own.
//!
//! What the neighbours got is printed with and without the hostile ones. The bounds on it leave room
//! for busy machines; that nothing is lost, out of order or answered by another process
//! is checked to the letter.
#![allow(
    clippy::unwrap_used,
    reason = "what a test's helper unwraps fails the test, as in the test itself"
)]

use std::future::Future;
use std::sync::Arc;

use futures::{StreamExt, stream};
use thalweg_client::WatchEvent;
use thalweg_tests_cluster::{LocalCluster, eventually};
use thalweg_tests_hostile::neighbours::{self, Figures};
use thalweg_tests_hostile::{
    HostileModule, corpus, is_held_up, is_stopped, open_once, prepare_prey, texts,
};
use thalweg_types::TopicName;
use thalweg_types::resource::{Resource, SpuState};

/// The exit status of a SmartModule that was refused or failed; see docs/guide/cli.md.
const SMARTMODULE_FAILED: i32 = 6;
/// How many hostile users there are at a time.
const USERS: usize = 4;
/// Held by each test: what one does to the processor is not to be measured by another.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[tokio::test(flavor = "multi_thread")]
async fn hostile_modules_are_told_why_and_harm_nobody() {
    let _alone = ALONE.lock().await;
    let cluster = Arc::new(LocalCluster::start_with(1, &["--smartmodule-deadline=300ms"]).await);
    with_three_records(&cluster, "prey").await;
    let modules = corpus().unwrap();
    let quiet = live(&cluster, "quiet", a_while()).await.1;

    let (complaints, beside) = live(&cluster, "beside", send_all(&cluster, modules)).await;

    compare("all hostile modules", &quiet, &beside);
    assert!(complaints.is_empty(), "{complaints:#?}");
    is_the_same_process(&cluster);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_looping_modules_leave_produce_consume_and_heartbeats_undisturbed() {
    let _alone = ALONE.lock().await;
    const STREAMS: usize = 100;
    let cluster = Arc::new(LocalCluster::start_with(1, &["--smartmodule-deadline=500ms"]).await);
    let prey = with_three_records(&cluster, "prey").await;
    let looping = texts().unwrap();
    let looping = looping.iter().find(|module| module.name == "loop_in_call");
    let wasm = looping.unwrap().wasm.clone();
    let quiet = live(&cluster, "quiet", a_while()).await.1;

    // There are as many all the while. How often each comes to its deadline is for the SPU to say.
    let loops = stream::iter(0..)
        .map(|_| async {
            let client = cluster.client().await;
            open_once(&client, &prey, "looping", &wasm).await
        })
        .buffer_unordered(STREAMS)
        .take_until(a_while())
        .collect::<Vec<_>>();
    let ((told, stayed_online), beside) =
        Box::pin(live(&cluster, "beside", while_online(&cluster, loops))).await;

    for error in &told {
        assert!(is_held_up(error), "{error}");
    }
    eprintln!("{} streams were told", told.len());
    assert!(!told.is_empty(), "nobody came to a deadline");
    assert!(stayed_online, "the SC took the SPU for dead");
    compare("100 looping streams", &quiet, &beside);
    is_the_same_process(&cluster);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_back_that_goes_wrong_is_told_in_every_place() {
    let _alone = ALONE.lock().await;
    let cluster = LocalCluster::start_with(1, &["--smartmodule-deadline=300ms"]).await;
    with_three_records(&cluster, "prey").await;
    let lines = cluster.path("lines.txt");
    std::fs::write(&lines, "four\n").unwrap();
    let lines = lines.to_str().unwrap();
    let mut modules = texts().unwrap();
    modules.retain(HostileModule::looks_back);
    assert!(modules.len() >= 2);

    for module in modules {
        let path = cluster.path(&format!("{}.wasm", module.name));
        std::fs::write(&path, &module.wasm).unwrap();
        let path = path.to_str().unwrap();
        let attached = ["--lookback-last", "10", "--smartmodule-path", path];
        let consume = [&["consume", "prey", "--start", "2", "-d"], &attached[..]].concat();
        let produce = [&["produce", "prey", "--file", lines], &attached[..]].concat();
        for arguments in [consume, produce] {
            let output = cluster.thalweg(&arguments);
            let told = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(SMARTMODULE_FAILED), "{told}");
            assert!(module.expects(&told), "{told}");
        }
        on_a_topic(&cluster, &module, path, lines).await;
    }

    let output = cluster.thalweg(&["consume", "prey", "-B", "-d"]);
    assert_eq!(output.stdout, b"one\ntwo\nthree\n");
    is_the_same_process(&cluster);
}

/// Gives a topic with three records the module, and produces to it.
async fn on_a_topic(cluster: &LocalCluster, module: &HostileModule, path: &str, lines: &str) {
    let name = module.name.replace('_', "-");
    with_three_records(cluster, &name).await;
    let chain = cluster.path("chain.yaml");
    let steps = format!("transforms:\n  - uses: {name}\n    lookback: {{last: 10}}\n");
    std::fs::write(&chain, steps).unwrap();
    let run = |arguments: &[&str]| {
        let output = cluster.thalweg(arguments);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {told}");
    };
    run(&["smartmodule", "create", &name, "--wasm-file", path]);
    run(&[
        "topic",
        "update",
        &name,
        "--transforms",
        chain.to_str().unwrap(),
    ]);
    // Its SPU hears of the chain a moment later.
    eventually("the topic refuses what it is sent", || async {
        let output = cluster.thalweg(&["produce", &name, "--file", lines]);
        let told = String::from_utf8_lossy(&output.stderr);
        let refuses = told.contains(&module.expect) && told.contains("look back");
        (!output.status.success() && refuses).then_some(())
    })
    .await;
    run(&["topic", "update", &name, "--clear-transforms"]);
    eventually("the topic takes what it is sent", || async {
        let output = cluster.thalweg(&["produce", &name, "--file", lines]);
        output.status.success().then_some(())
    })
    .await;
}

/// What is compared with is taken over as long.
async fn a_while() {
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
}

/// A topic with three records in one batch.
async fn with_three_records(cluster: &LocalCluster, name: &str) -> TopicName {
    let topic = cluster.create_topic(name, 1, &[]).await;
    prepare_prey(&cluster.client().await, &topic).await.unwrap();
    topic
}

/// Runs the neighbours on a topic of their own for as long as `load` takes.
async fn live<T>(
    cluster: &LocalCluster,
    name: &str,
    load: impl Future<Output = T>,
) -> (T, Figures) {
    let config = [("durability", "memory")];
    let topic = cluster.create_topic(name, 1, &config).await;
    let client = cluster.client().await;
    neighbours::live(&client, &topic, load).await.unwrap()
}

/// Sends every module by the command line, a few at a time; what is wrong with what was said.
async fn send_all(cluster: &Arc<LocalCluster>, modules: Vec<HostileModule>) -> Vec<String> {
    stream::iter(modules)
        .map(|module| {
            let cluster = Arc::clone(cluster);
            async move {
                tokio::task::spawn_blocking(move || send(&cluster, &module))
                    .await
                    .unwrap()
            }
        })
        .buffer_unordered(USERS)
        .filter_map(async |complaint| complaint)
        .collect()
        .await
}

fn send(cluster: &LocalCluster, module: &HostileModule) -> Option<String> {
    let name = &module.name;
    let path = cluster.path(&format!("{name}.wasm"));
    std::fs::write(&path, &module.wasm).unwrap();
    let path = path.to_string_lossy();
    let mut arguments = vec!["consume", "prey", "-d", "--smartmodule-path", &path];
    // What looks back begins behind the first record, so that there is one to be shown.
    arguments.extend(if module.looks_back() {
        &["--start", "1", "--lookback-last", "1"][..]
    } else {
        &["-B"]
    });

    let output = cluster.thalweg(&arguments);

    let told = String::from_utf8_lossy(&output.stderr);
    if module.expect.is_empty() && output.status.success() {
        return None;
    }
    let is_named = told.contains(&format!("`{name}`"));
    // Beside others that want the processor any of them may come to its deadline first.
    let is_clear = told.contains(&module.expect) || is_stopped(&told);
    let is_failure = output.status.code() == Some(SMARTMODULE_FAILED);
    (!is_named || !is_clear || !is_failure)
        .then(|| format!("{name} ended with {}: {told}", output.status))
}

/// Runs `load`, and says whether the SC had the SPU online all the while: it tells of every change.
async fn while_online<T>(cluster: &LocalCluster, load: impl Future<Output = T>) -> (T, bool) {
    let mut watch = cluster.client().await.admin().watch().await.unwrap();
    let mut load = std::pin::pin!(load);
    let mut stayed_online = true;
    loop {
        // Both are cancel-safe: the load is only lent.
        tokio::select! {
            outcome = &mut load => return (outcome, stayed_online),
            event = watch.next() => {
                let event = event.unwrap().expect("the SC goes on");
                if let WatchEvent::Upserted(Resource::Spu(spu)) = event {
                    stayed_online &= spu.status.state == SpuState::Online;
                }
            }
        }
    }
}

/// What neighbours may lose to hostile modules. The bounds are a few times what is seen on two
/// processors that clients, hostile ones too, share with the SPU and with other work: there the
/// slowest of a hundred waits are those for a processor. Through a module there are stalls of seconds
/// where three such tests run at once.
fn compare(load: &str, quiet: &Figures, beside: &Figures) {
    eprintln!("without {load}: {quiet}\nwith {load}: {beside}");
    assert!(
        beside.acknowledged_per_second > quiet.acknowledged_per_second / 15.0,
        "{load}: producing came to a halt"
    );
    for (what, with, without, p50_floor_ms, p99_floor_ms) in [
        (
            "an acknowledgement",
            beside.acknowledged,
            quiet.acknowledged,
            5.0,
            100.0,
        ),
        ("a plain consumer", beside.plain, quiet.plain, 10.0, 500.0),
        (
            "a consumer through a module",
            beside.through_module,
            quiet.through_module,
            250.0,
            8_000.0,
        ),
    ] {
        let p50_bound_ms = (without.p50_ms * 20.0).max(p50_floor_ms);
        let p99_bound_ms = (without.p99_ms * 20.0).max(p99_floor_ms);
        assert!(
            with.p50_ms < p50_bound_ms && with.p99_ms < p99_bound_ms,
            "{load}: {what} waits {with}, without it {without}"
        );
    }
}

fn is_the_same_process(cluster: &LocalCluster) {
    let pid = cluster.spu(0).pid();
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    assert!(!state.contains(") Z "), "the SPU has ended: {state}");
    let log = cluster.spu(0).log_text();
    assert!(!log.contains("panicked"), "{log}");
}
