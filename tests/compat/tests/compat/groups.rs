//! Consumer groups of real clients, while members die, pause and come back and coordinators move.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::time::Duration;

use thalweg_client::{Client, ProducerOptions, ProducerRecord};
use thalweg_runtime::{CancellationToken, TaskGroup};
use thalweg_tests_cluster::{LocalCluster, eventually};
use thalweg_tests_compat::{
    ClientProgram, GroupMember, Unavailable, franz_go, java, kcat, python_members,
};
use thalweg_types::{OFFSETS_TOPIC, PartitionIndex, SpuId, TopicName};
use tokio::sync::oneshot;

const SPUS: i32 = 3;
const PARTITIONS: i32 = 6;
const GROUP: &str = "readers";
/// Where Kafka's hash puts that group among 16 partitions.
const GROUP_PARTITION: PartitionIndex = PartitionIndex(0);
const TOPIC: &str = "numbers";
/// How long a member may be silent, in milliseconds: long enough for a busy machine.
const SESSION_MS: &str = "6000";
/// Of instances: longer than one takes to come back. A JVM takes longest.
const INSTANCE_SESSION_MS: &str = "15000";
const JAVA_INSTANCE_SESSION_MS: &str = "40000";

/// A cluster with a topic that grows while members read it.
struct Scene {
    cluster: LocalCluster,
    program: ClientProgram,
    assignor: &'static str,
    session_ms: &'static str,
    producing: Producing,
    /// What members that have ended had said.
    said: Vec<Vec<String>>,
}

/// Produces a record every few moments to each partition in turn.
struct Producing {
    stop: CancellationToken,
    tasks: TaskGroup,
    counts: oneshot::Receiver<BTreeMap<i32, i64>>,
}

impl Producing {
    async fn start(client: &Client, topic: &TopicName) -> Self {
        let options = ProducerOptions::default();
        let producer = client.producer(topic, options).await.unwrap();
        let (stop, tasks) = (CancellationToken::new(), TaskGroup::new());
        let (counts_tx, counts) = oneshot::channel();
        let stopped = stop.clone();
        tasks.spawn("producing", |_| async move {
            let mut counts = BTreeMap::new();
            for number in 0.. {
                if stopped.is_cancelled() {
                    break;
                }
                let partition = number % PARTITIONS;
                let record = ProducerRecord {
                    partition: Some(PartitionIndex(partition)),
                    ..ProducerRecord::new(b"value")
                };
                let delivery = producer.send(record).await.unwrap();
                delivery.await.unwrap();
                *counts.entry(partition).or_default() += 1;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            // The test may have failed and gone.
            let _ = counts_tx.send(counts);
            Ok::<_, Infallible>(())
        });
        Self {
            stop,
            tasks,
            counts,
        }
    }

    /// Stops, and says how many records each partition has.
    async fn finish(self) -> BTreeMap<i32, i64> {
        self.stop.cancel();
        let counts = self.counts.await.unwrap();
        self.tasks.stop().await;
        counts
    }
}

impl Scene {
    /// `None` where the client can't be had.
    async fn start(
        program: Result<ClientProgram, Unavailable>,
        assignor: &'static str,
        session_ms: &'static str,
    ) -> Option<Self> {
        let program = program.map_err(|unavailable| unavailable.skip()).ok()?;
        // Where the coordinator assigns it also says how long members may be silent.
        let session = format!("--group-consumer-session-timeout={session_ms}ms");
        let flags = [
            "--group-initial-rebalance-delay=500ms",
            &session,
            "--group-consumer-heartbeat-interval=300ms",
        ];
        let cluster = LocalCluster::start_with(SPUS, &flags).await;
        let config = [("min.insync.replicas", "2")];
        let topic = cluster
            .create_replicated_topic(TOPIC, PARTITIONS, SPUS, &config)
            .await;
        let producing = Producing::start(&cluster.client().await, &topic).await;
        Some(Self {
            cluster,
            program,
            assignor,
            session_ms,
            producing,
            said: Vec::new(),
        })
    }

    fn member(&self) -> GroupMember {
        self.start_member(&[])
    }

    fn instance(&self, name: &str) -> GroupMember {
        self.start_member(&[name])
    }

    fn start_member(&self, more: &[&str]) -> GroupMember {
        let bootstrap = (0..SPUS).map(|spu| self.cluster.spu_address(spu));
        let bootstrap = bootstrap.collect::<Vec<_>>().join(",");
        let arguments = [&bootstrap, GROUP, TOPIC, self.assignor, self.session_ms];
        GroupMember::start(&self.program, &[&arguments[..], more].concat())
    }

    /// The SPU that coordinates the group.
    async fn coordinator(&self) -> SpuId {
        let admin = self.cluster.client().await.admin();
        let topic: TopicName = OFFSETS_TOPIC.parse().unwrap();
        eventually("the group has a coordinator", || async {
            let described = admin.describe_topic(&topic).await.ok()?;
            let mut partitions = described.partitions.into_iter();
            let partition = partitions.find(|it| it.id.partition == GROUP_PARTITION)?;
            assert_eq!(partition.spec.replicas.len(), 3);
            partition.status.leader
        })
        .await
    }

    /// Members end in good order, and one that comes after them goes on where they were. Every record
    /// was read by somebody.
    async fn finish(mut self, members: Vec<GroupMember>) {
        self.said.extend(members.into_iter().map(GroupMember::stop));
        let committed = committed(&self.said);
        let last = self.member();
        last.wait_for_partitions(6);
        last.wait_for_commits();
        let counts = self.producing.finish().await;
        last.wait("all is read", |lines| {
            let read = read(&[lines.to_vec()]);
            counts.iter().all(|(partition, count)| {
                read.get(partition)
                    .is_some_and(|read| read.contains(&(count - 1)))
                    || committed.get(partition) == Some(count)
            })
        });
        let lines = last.stop();
        for (partition, read) in read(std::slice::from_ref(&lines)) {
            let first = *read.first().unwrap();
            let wanted = committed.get(&partition).copied().unwrap_or(0);
            assert_eq!(
                first, wanted,
                "partition {partition} goes on where it was committed"
            );
        }
        self.said.push(lines);
        for (partition, count) in counts {
            let read = &read(&self.said)[&partition];
            let missing: Vec<_> = (0..count).filter(|offset| !read.contains(offset)).collect();
            assert!(
                missing.is_empty(),
                "nobody read {missing:?} of partition {partition}"
            );
        }
    }
}

/// The offsets of each partition that members have read.
fn read(said: &[Vec<String>]) -> BTreeMap<i32, BTreeSet<i64>> {
    let mut read = BTreeMap::<_, BTreeSet<_>>::new();
    for (partition, offset) in said
        .iter()
        .flatten()
        .filter_map(|line| pair(line, "record "))
    {
        read.entry(partition).or_default().insert(offset);
    }
    read
}

/// The highest offset of each partition that a member was told is committed.
fn committed(said: &[Vec<String>]) -> BTreeMap<i32, i64> {
    let mut committed = BTreeMap::new();
    for (partition, offset) in said
        .iter()
        .flatten()
        .filter_map(|line| pair(line, "committed "))
    {
        let highest = committed.entry(partition).or_default();
        *highest = offset.max(*highest);
    }
    committed
}

fn pair(line: &str, word: &str) -> Option<(i32, i64)> {
    let (partition, offset) = line.strip_prefix(word)?.split_once(' ')?;
    Some((partition.parse().ok()?, offset.parse().ok()?))
}

/// Two members share the partitions. One dies, its successor falls silent and comes back, and the
/// coordinator dies: the partitions always end up shared, and nothing that was committed is
/// forgotten.
async fn members_die_pause_and_come_back(
    program: Result<ClientProgram, Unavailable>,
    assignor: &'static str,
) {
    let Some(mut scene) = Scene::start(program, assignor, SESSION_MS).await else {
        return;
    };
    let first = scene.member();
    first.wait_for_partitions(6);
    first.wait_for_commits();

    let second = scene.member();
    second.wait_for_partitions(3);
    first.wait_for_partitions(3);
    if assignor != "eager" {
        let lines = first.lines();
        let revoked = lines.iter().filter(|line| line.starts_with("revoked"));
        let revoked: usize = revoked.map(|line| line.split(' ').count() - 1).sum();
        assert_eq!(revoked, 3, "what it keeps it has never given up");
    }
    second.wait_for_commits();
    scene.said.push(second.kill());
    first.wait_for_partitions(6);

    let third = scene.member();
    third.wait_for_partitions(3);
    third.wait_for_commits();
    third.pause();
    first.wait_for_partitions(6);
    first.wait_for_commits();
    third.resume();
    third.wait("it hears that its partitions are gone", |lines| {
        let notable = lines.iter().filter(|line| !line.starts_with("record"));
        notable.clone().any(|line| line.starts_with("lost"))
            || notable.filter(|line| line.starts_with("revoked")).count() > 0
    });
    third.wait_for_partitions(3);
    first.wait_for_partitions(3);

    let coordinator = scene.coordinator().await;
    scene.cluster.take_spu(coordinator.0).kill();
    first.wait_for_commits();
    third.wait_for_commits();
    assert_ne!(scene.coordinator().await, coordinator);
    scene.cluster.start_spu(coordinator.0);
    first.wait_for_partitions(3);
    third.wait_for_partitions(3);
    first.wait_for_commits();
    third.wait_for_commits();
    scene.finish(vec![first, third]).await;
}

/// A member that keeps its name goes and comes back in time: the other one notices nothing. Where members
/// assign it is killed; where the coordinator does it must say that it will be back.
async fn an_instance_comes_back(
    program: Result<ClientProgram, Unavailable>,
    assignor: &'static str,
    session_ms: &'static str,
) {
    let Some(mut scene) = Scene::start(program, assignor, session_ms).await else {
        return;
    };
    let (first, second) = (scene.instance("first"), scene.instance("second"));
    first.wait_for_partitions(3);
    second.wait_for_partitions(3);
    second.wait_for_commits();
    let notable = |lines: Vec<String>| -> Vec<String> {
        let changes = ["assigned", "revoked", "lost"];
        let is_change = |line: &String| changes.iter().any(|word| line.starts_with(word));
        lines.into_iter().filter(is_change).collect()
    };
    let before = notable(first.lines());
    let owned = second.owned();

    let said = match assignor {
        "eager" => second.kill(),
        _ => second.stop(),
    };
    scene.said.push(said);
    let second = scene.instance("second");
    second.wait_for_partitions(3);
    second.wait_for_commits();

    assert_eq!(second.owned(), owned);
    assert_eq!(notable(first.lines()), before);
    // Names are not given up by leaving in good order. Others get the partitions once the session
    // is over.
    scene.finish(vec![first, second]).await;
}

fn confluent() -> Result<ClientProgram, Unavailable> {
    python_members().map(|python| python.with(&["confluent"]))
}

fn kafka_python() -> Result<ClientProgram, Unavailable> {
    python_members().map(|python| python.with(&["kafka-python"]))
}

fn aiokafka() -> Result<ClientProgram, Unavailable> {
    python_members().map(|python| python.with(&["aiokafka"]))
}

fn java_member() -> Result<ClientProgram, Unavailable> {
    java().map(|java| java.with(&["GroupMember"]))
}

fn franz_go_member() -> Result<ClientProgram, Unavailable> {
    franz_go().map(|franz_go| franz_go.with(&["member"]))
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_of_librdkafka_with_an_eager_assignor() {
    members_die_pause_and_come_back(confluent(), "eager").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_of_librdkafka_with_a_cooperative_assignor() {
    members_die_pause_and_come_back(confluent(), "cooperative").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_of_librdkafka_that_the_coordinator_assigns() {
    members_die_pause_and_come_back(confluent(), "uniform").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_of_librdkafka() {
    an_instance_comes_back(confluent(), "eager", INSTANCE_SESSION_MS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_of_kafka_python() {
    members_die_pause_and_come_back(kafka_python(), "eager").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_of_kafka_python() {
    an_instance_comes_back(kafka_python(), "eager", INSTANCE_SESSION_MS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_of_aiokafka() {
    members_die_pause_and_come_back(aiokafka(), "eager").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_of_aiokafka() {
    an_instance_comes_back(aiokafka(), "eager", INSTANCE_SESSION_MS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_of_franz_go_with_an_eager_assignor() {
    members_die_pause_and_come_back(franz_go_member(), "eager").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_of_franz_go() {
    an_instance_comes_back(franz_go_member(), "eager", INSTANCE_SESSION_MS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_of_franz_go_with_a_cooperative_assignor() {
    members_die_pause_and_come_back(franz_go_member(), "cooperative").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_of_kafkas_java_client_with_an_eager_assignor() {
    members_die_pause_and_come_back(java_member(), "eager").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_of_kafkas_java_client_with_a_cooperative_assignor() {
    members_die_pause_and_come_back(java_member(), "cooperative").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_of_kafkas_java_client_that_the_coordinator_assigns_evenly() {
    members_die_pause_and_come_back(java_member(), "uniform").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_of_kafkas_java_client_that_the_coordinator_assigns_by_ranges() {
    members_die_pause_and_come_back(java_member(), "range").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_of_kafkas_java_client_that_the_coordinator_assigns() {
    an_instance_comes_back(java_member(), "uniform", JAVA_INSTANCE_SESSION_MS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_of_kafkas_java_client() {
    an_instance_comes_back(java_member(), "eager", JAVA_INSTANCE_SESSION_MS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kcat_reads_as_a_group_and_goes_on_where_it_was() {
    let kcat = match kcat() {
        Ok(kcat) => kcat,
        Err(unavailable) => return unavailable.skip(),
    };
    let cluster = LocalCluster::start(2).await;
    cluster.create_topic("kcat-group", 2, &[]).await;
    let kcat = kcat.with(&["-b", cluster.spu_address(0)]);
    let read = |kcat: &ClientProgram| {
        let group = ["-G", "kcat", "kcat-group", "-e", "-q", "-f", "%s\n"];
        let from = ["-X", "auto.offset.reset=earliest"];
        let text = kcat.run(&[&from[..], &group].concat());
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    };

    kcat.run_with_input(&["-P", "-t", "kcat-group"], "one\ntwo\nthree\n");
    assert_eq!(read(&kcat), ["one", "three", "two"]);
    kcat.run_with_input(&["-P", "-t", "kcat-group"], "four\n");

    assert_eq!(read(&kcat), ["four"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn kafkas_tool_for_groups_sees_and_changes_those_of_thalwegs_consumers() {
    let java = match java() {
        Ok(java) => java,
        Err(unavailable) => return unavailable.skip(),
    };
    let cluster = LocalCluster::start(1).await;
    let client = cluster.client().await;
    let topic = cluster.create_topic(TOPIC, 1, &[]).await;
    let options = ProducerOptions::default();
    let producer = client.producer(&topic, options).await.unwrap();
    for _ in 0..3 {
        producer
            .enqueue(ProducerRecord::new(b"value"))
            .await
            .unwrap();
    }
    producer.close().await.unwrap();
    let read = cluster.thalweg(&["consume", TOPIC, "-B", "-d", "--group", GROUP]);
    assert!(read.status.success());
    let class = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
    let tool = java.with(&[class, "--bootstrap-server", cluster.spu_address(0)]);
    let of_group = |more: &[&str]| tool.run(&[&["--group", GROUP], more].concat());
    let committed = || async {
        let offsets = client.admin().group_offsets(GROUP).await.unwrap();
        offsets
            .into_values()
            .map(|offset| offset.0)
            .collect::<Vec<_>>()
    };

    let listed = tool.run(&["--list"]);
    let described = of_group(&["--describe"]);
    of_group(&[
        "--reset-offsets",
        "--to-offset",
        "1",
        "--topic",
        TOPIC,
        "--execute",
    ]);
    let reset = committed().await;
    of_group(&["--delete"]);

    assert!(listed.lines().any(|line| line.trim() == GROUP), "{listed}");
    let row = described.lines().find(|line| line.contains(TOPIC)).unwrap();
    let row: Vec<_> = row.split_whitespace().collect();
    assert_eq!(row[..6], [GROUP, TOPIC, "0", "3", "3", "0"], "{described}");
    assert_eq!(reset, [1]);
    assert!(committed().await.is_empty());
}
