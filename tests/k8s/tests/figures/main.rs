//! Figures of a cluster of 1,000 topics on a real API server: how long until they are online, what the SC writes for
//! that, and what it costs to leave them alone. `cargo xtask k8s-figures` prints them.
//!
//! That nothing is written while nothing happens is judged; the rest is shown, since the machine is shared and
//! in-sync replicas change when it is busy.
#![allow(
    clippy::unwrap_used,
    reason = "what a test's helper unwraps fails the test, as in the test itself"
)]
#![allow(clippy::cast_precision_loss, reason = "thousands of writes")]

#[path = "../k8s/operator.rs"]
#[allow(dead_code, reason = "the other ring has the rest")]
mod operator;
#[path = "../k8s/stage.rs"]
#[allow(dead_code, reason = "the other ring has the rest")]
mod stage;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::json;
use thalweg_runtime::SystemClock;
use thalweg_tests_cluster::Node;
use thalweg_tests_k8s::{AuditedRequest, Namespace, eventually_within};

use crate::operator::Operated;
use crate::stage::{stage, topic_manifest};

const TOPICS: usize = 1000;
const PARTITIONS: usize = 2;
const SPUS: i32 = 3;

/// The longest that it is waited for what should take a minute.
const PATIENCE: Duration = Duration::from_secs(600);

/// For how long nothing is written by an SC that is done: its looks at who leads are 10 s apart.
const QUIET: Duration = Duration::from_secs(25);

/// How long the cluster is left alone.
const IDLE: Duration = Duration::from_secs(60);

/// Processor time is counted in hundredths of a second (`USER_HZ`, proc(5)).
const TICKS_PER_SECOND: f64 = 100.0;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes: `cargo xtask k8s-figures`"]
async fn a_thousand_topics_come_and_are_left_alone() {
    let operated = Operated::new("figures").await;
    operated.install(SPUS).await;
    let namespace: &Namespace = &operated;
    let stage = stage(namespace, SPUS).await;
    operated.group_is("Progressing", "False", "Settled").await;
    let clock = SystemClock::shared();
    let writes = |requests: Vec<AuditedRequest>| {
        let mut writes: BTreeMap<String, usize> = BTreeMap::new();
        for request in requests {
            *writes.entry(request.resource).or_default() += 1;
        }
        writes.remove("leases");
        writes
    };

    let audit = namespace.audit_from_now();
    let begun = clock.monotonic();
    namespace.apply_yaml(&topics());
    let applied = clock.monotonic() - begun;
    eventually_within(PATIENCE, "all partitions online", async || {
        let states = "jsonpath={.items[*].status.state}";
        let states = namespace.run(&["get", "partitions", "-o", states]);
        let online = states.split_whitespace().filter(|one| *one == "Online");
        (online.count() == TOPICS * PARTITIONS).then_some(())
    })
    .await;
    let online = clock.monotonic() - begun;
    eventually_within(PATIENCE, "all topics provisioned", async || {
        let states = "jsonpath={.items[*].status.state}";
        let states = namespace.run(&["get", "topics", "-o", states]);
        let done = states
            .split_whitespace()
            .filter(|one| *one == "Provisioned");
        (done.count() == TOPICS).then_some(())
    })
    .await;
    let user = stage.controllers.user("first");
    let written = writes(audit.writes_of(user, namespace.name()).await);
    let each = |kind: &str, count: usize| {
        let of_kind = |resource: &str| resource.split('/').next() == Some(kind);
        let of_kind = written.iter().filter(|(resource, _)| of_kind(resource));
        let writes: usize = of_kind.map(|(_, count)| count).sum();
        writes as f64 / count as f64
    };
    println!(
        "{TOPICS} topics of {PARTITIONS} partitions with {SPUS} replicas: applied by kubectl in {:.1} s, all online after {:.1} s; the SC wrote {:.2} times for each topic and {:.2} for each partition",
        applied.as_secs_f64(),
        online.as_secs_f64(),
        each("topics", TOPICS),
        each("partitions", TOPICS * PARTITIONS),
    );

    eventually_within(
        PATIENCE,
        "an SC that has nothing more to write",
        async || {
            let audit = namespace.audit_from_now();
            tokio::time::sleep(QUIET).await;
            let written = writes(audit.writes_of(user, namespace.name()).await);
            written.is_empty().then_some(())
        },
    )
    .await;
    println!(
        "nothing more is written after {:.0} s",
        (clock.monotonic() - begun).as_secs_f64()
    );
    let processes = [("SC", &stage.first), ("operator", operated.operator(0))];
    let audit = namespace.audit_from_now();
    let before = processes.map(|(_, process)| processor_time(process));
    // What is measured is that nothing happens.
    tokio::time::sleep(IDLE).await;
    for ((name, process), before) in processes.into_iter().zip(before) {
        let used = processor_time(process) - before;
        println!(
            "{name}, left alone with {TOPICS} topics: {:.2}% of a core, {} MiB",
            100.0 * used / IDLE.as_secs_f64(),
            process.resident_bytes().unwrap() >> 20,
        );
    }
    for user in [
        user,
        stage.controllers.user("second"),
        operated.identity.user(),
    ] {
        let written = writes(audit.writes_of(user, namespace.name()).await);
        assert_eq!(written, BTreeMap::new(), "{user}");
    }
}

fn topics() -> String {
    let spec = json!({"partitions": PARTITIONS, "replicationFactor": SPUS}).to_string();
    let mut manifests = String::new();
    for number in 0..TOPICS {
        let topic = topic_manifest(&format!("topic-{number}"), &spec);
        // A String takes whatever is written.
        let _ = write!(manifests, "---\n{topic}");
    }
    manifests
}

/// Seconds of a processor that a process has used (proc(5), `/proc/PID/stat`, fields 14 and 15).
fn processor_time(process: &Node) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.pid())).unwrap();
    let (_, after_name) = stat.rsplit_once(')').unwrap();
    let fields: Vec<_> = after_name.split_whitespace().collect();
    let ticks = |field: usize| fields[field - 3].parse::<f64>().unwrap();
    (ticks(14) + ticks(15)) / TICKS_PER_SECOND
}
