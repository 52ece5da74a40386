//! Every kind of harm that a cluster on Kubernetes meets, one after the other, with the nemesis' recording clients at
//! work all the time: writes go on, and nothing that was acknowledged is lost, doubled or reordered.

#![allow(
    clippy::print_stdout,
    reason = "what harm cost is for whoever runs it with `--nocapture`"
)]

mod load;

use std::time::Duration;

use serde_json::json;
use thalweg_client::{Acks, Admin};
use thalweg_nemesis::checker::check;
use thalweg_nemesis::clients::{Clients, Membership, Pace, Recorder};
use thalweg_nemesis::healed::{all_in_sync, all_online, in_time, read_back};
use thalweg_nemesis::topics::{TopicOptions, create_topic};
use thalweg_tests_k8s::{Alone, Namespace, eventually_within};
use thalweg_types::TopicName;

use self::load::Load;
use crate::stage::{Stage, ready_replicas};

const SPUS: usize = 3;

/// How many more records must be acknowledged until it is believed that writes go on.
const MORE: usize = 300;

/// How long Kubernetes may take for what a test asks of it.
const PATIENCE: Duration = Duration::from_secs(180);

/// A few hundred records a second in all: the machine runs three nodes as well.
const PACE: Pace = Pace {
    burst: 4,
    burst_interval: Duration::from_millis(20),
    ends_interval: Duration::from_millis(200),
};

/// Clients at work on a cluster.
struct AtWork<'a> {
    namespace: &'a Namespace,
    admin: Admin,
    topics: Vec<TopicName>,
    recorder: Recorder,
}

impl AtWork<'_> {
    /// Waits until so many records more were acknowledged.
    async fn writes_go_on(&self, during: &str) {
        let before = self.recorder.history().acknowledged_count();
        eventually_within(PATIENCE, &format!("writes go on {during}"), async || {
            let now = self.recorder.history().acknowledged_count();
            (now >= before + MORE).then_some(())
        })
        .await;
    }

    /// Waits until all SPUs are back and in sync.
    async fn is_whole(&self, after: &str) {
        eventually_within(
            PATIENCE,
            &format!("{SPUS} SPUs in sync {after}"),
            async || {
                all_online(&self.admin, SPUS).await?;
                all_in_sync(&self.admin, &self.topics).await?;
                (ready_replicas(self.namespace) == SPUS).then_some(())
            },
        )
        .await;
        println!(
            "{after}: {} acknowledged so far",
            self.recorder.history().acknowledged_count()
        );
    }

    /// Harm that is over at once.
    async fn harm(&self, what: &str, inflict: impl FnOnce()) {
        inflict();
        self.writes_go_on(&format!("after {what}")).await;
        self.is_whole(&format!("after {what}")).await;
    }

    fn pods_of(&self, component: &str) -> Vec<String> {
        let selector = format!("app.kubernetes.io/component={component}");
        let names = "jsonpath={.items[*].metadata.name}";
        let names = self
            .namespace
            .run(&["get", "pods", "-l", &selector, "-o", names]);
        names.split_whitespace().map(str::to_owned).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes with real nodes: `cargo xtask k8s-real`"]
async fn nothing_acknowledged_is_lost_whatever_happens_to_pods_and_nodes() {
    let alone = Alone::new().await;
    let mut stage = Stage::prepare(&alone, "harm");
    stage.make_cluster(json!({}));
    let namespace = stage.namespace();
    let admin = stage.client("admin").await.admin();
    let recorder = Recorder::default();
    let clients = Clients::new(Acks::All, PACE);
    let topics = start_clients(&stage, &admin, &clients, &recorder).await;
    let at_work = AtWork {
        namespace,
        admin,
        topics,
        recorder,
    };
    at_work.writes_go_on("at first").await;

    at_work
        .harm("kill -9 of an SPU", || {
            namespace.kill_container("main-spu-1", "spu");
        })
        .await;
    at_work
        .harm("kill -9 of both SCs", || {
            for pod in at_work.pods_of("sc") {
                namespace.kill_container(&pod, "sc");
            }
        })
        .await;
    at_work
        .harm("an SPU's pod that is deleted at once", || {
            let now = ["--force", "--grace-period=0"];
            namespace.run(&[&["delete", "pod", "main-spu-2"], &now[..]].concat());
        })
        .await;
    at_work
        .harm("the SCs' pods that are deleted", || {
            let selector = "app.kubernetes.io/component=sc";
            namespace.run(&["delete", "pods", "-l", selector, "--wait=false"]);
        })
        .await;
    cut_off_a_node(&alone, &at_work).await;
    drain_a_node(&at_work).await;
    upgrade(&stage, &at_work).await;
    scale(&at_work).await;

    clients.finish_producing().await;
    clients.finish().await;
    let AtWork {
        topics, recorder, ..
    } = at_work;
    let reader = stage.client("reader").await;
    let data_dir = |spu| stage.data_dir(spu);
    read_back(&reader, &topics, group_of, data_dir, &recorder)
        .await
        .unwrap();
    let history = std::mem::take(&mut *recorder.history());
    println!(
        "{} acknowledged, {} read, {} commits",
        history.acknowledged_count(),
        history.read_count(),
        history.commit_count()
    );
    assert_eq!(check(&history), []);
    stage.remove();
}

/// A topic of each durability, with producers, readers, and a group.
async fn start_clients(
    stage: &Stage<'_>,
    admin: &Admin,
    clients: &Clients,
    recorder: &Recorder,
) -> Vec<TopicName> {
    let mut topics = Vec::new();
    for durability in ["fsync", "memory"] {
        let topic: TopicName = durability.parse().unwrap();
        let options = TopicOptions {
            partitions: 2,
            durability,
            segment_bytes: "200000",
        };
        create_topic(admin, &topic, options).await.unwrap();
        for number in 0..2 {
            let client = stage.client(&format!("producer-{number}")).await;
            clients.produce(client, topic.clone(), recorder.clone());
        }
        for (number, turn) in [3, 3600].map(Duration::from_secs).into_iter().enumerate() {
            let name = format!("consumer-{durability}-{number}");
            let client = stage.client(&name).await;
            clients.consume(name, client, topic.clone(), turn, recorder.clone());
            let name = format!("member-{durability}-{number}");
            let client = stage.client(&name).await;
            let membership = Membership {
                name,
                group: group_of(&topic),
                topic: topic.clone(),
                turn: Duration::from_secs(3600),
            };
            clients.join_group(membership, client, recorder.clone());
        }
        for partition in admin.describe_topic(&topic).await.unwrap().partitions {
            let client = stage.client("end-watcher").await;
            clients.watch_end(client, partition.topic_partition(), recorder.clone());
        }
        topics.push(topic);
    }
    topics
}

fn group_of(topic: &TopicName) -> String {
    format!("readers-{topic}")
}

/// Until Kubernetes has noticed; and back.
async fn cut_off_a_node(alone: &Alone, at_work: &AtWork<'_>) {
    let node_is = async |wanted: bool| {
        let what = format!("a node with Ready={wanted}");
        eventually_within(PATIENCE, &what, async || {
            let ready = at_work.namespace.condition("node", "node-2", "Ready")?;
            ((ready == "True") == wanted).then_some(())
        })
        .await;
    };
    let cut_off = alone.cut_off(2);
    at_work.writes_go_on("while a node is cut off").await;
    node_is(false).await;
    at_work.writes_go_on("once its absence is noticed").await;
    drop(cut_off);
    node_is(true).await;
    at_work.is_whole("after a node was cut off").await;
}

async fn drain_a_node(at_work: &AtWork<'_>) {
    at_work
        .harm("the drain of a node", || {
            let namespace = at_work.namespace;
            let options = [
                "--ignore-daemonsets",
                "--delete-emptydir-data",
                "--timeout=120s",
            ];
            // Of this namespace: what others left behind is theirs.
            let ours = "--pod-selector=app.kubernetes.io/name=thalweg";
            namespace.run(&[&["drain", "node-1", ours], &options[..]].concat());
        })
        .await;
    at_work.namespace.run(&["uncordon", "node-1"]);
}

/// With a load of 5 MB/s, whose longest silence is shown.
async fn upgrade(stage: &Stage<'_>, at_work: &AtWork<'_>) {
    let load = Load::start(stage.client("load").await, &at_work.admin).await;
    let change = r#"{"spec":{"pod":{"annotations":{"example.com/changed":"once"}}}}"#;
    let patch = ["patch", "spugroup", "main", "--type=merge", "-p", change];
    at_work.namespace.run(&patch);
    let wait = ["wait", "--for=condition=Progressing=False", "spugroup/main"];
    at_work
        .namespace
        .run(&[&wait[..], &["--timeout=180s"]].concat());
    let group = at_work.namespace.get(&["spugroup", "main"]).unwrap();
    assert_eq!(group["status"]["updatedReplicas"], 3);
    at_work.is_whole("after a rolling upgrade").await;
    println!("{}", load.finish().await);
}

async fn scale(at_work: &AtWork<'_>) {
    let namespace = at_work.namespace;
    let to = |count: &str| {
        namespace.run(&["scale", "spugroup/main", &format!("--replicas={count}")]);
        let all = format!("--for=jsonpath={{.status.spus}}={count}/{count}");
        namespace.run(&["wait", &all, "spugroup/main", "--timeout=180s"]);
    };
    to("5");
    at_work.admin.rebalance(false).await.unwrap();
    in_time("replicas that were moved", || {
        all_in_sync(&at_work.admin, &at_work.topics)
    })
    .await
    .unwrap();
    at_work.writes_go_on("after the cluster grew").await;
    to("3");
    at_work.writes_go_on("after the cluster shrank").await;
    at_work.is_whole("after the cluster shrank").await;
}
