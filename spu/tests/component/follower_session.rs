//! What a leader answers a follower's SPU that names only what has changed, or reads ahead of what it has
//! written, played by the test.

use std::sync::Arc;
use std::time::Duration;

use thalweg_client::{Connection, ConnectionOptions};
use thalweg_runtime::TaskGroup;
use thalweg_spu::Spu;
use thalweg_spu::replica::{FollowerPosition, Replica};
use thalweg_types::{CopyLife, CopyNumber, Incarnation, Offset, SpuId};
use thalweg_wire::messages::fetch_request::{FetchPartition, FetchTopic};
use thalweg_wire::messages::fetch_response::PartitionData;
use thalweg_wire::messages::{BrokerId, FetchRequest, FetchResponse};
use thalweg_wire::tags::{self, FollowerTag};
use thalweg_wire::{KafkaError, StrBytes};

use crate::harness::{append, leader, start, until};
use crate::scripted_sc::{SPU, Script, ScriptedSc};

/// The other SPU.
const OTHER: i32 = SPU + 1;
const WAIT: Duration = Duration::from_secs(20);
const LIFE: CopyLife = CopyLife {
    process: Incarnation(1),
    copy: CopyNumber(1),
};

/// The connection of a follower's SPU, and the partitions that it follows.
struct FollowerSpu {
    connection: Arc<Connection>,
    replicas: [Arc<Replica>; 2],
    _tasks: TaskGroup,
}

impl FollowerSpu {
    /// Follows `orders` from `spu`, once that knows.
    async fn connect(spu: &Spu, script: &Script) -> Self {
        let replicas = [
            leader(spu, "orders", 0).await,
            leader(spu, "orders", 1).await,
        ];
        for (partition, replica) in (0..).zip(&replicas) {
            script.set_replicas("orders", partition, &[SPU, OTHER], &[SPU]);
            let position = FollowerPosition {
                life: LIFE,
                stable_end: Offset(0),
            };
            until("the leader has heard of its follower", || {
                replica
                    .follower_fetched(SpuId(OTHER), position)
                    .then_some(())
            })
            .await;
        }
        let tasks = TaskGroup::new();
        let options = ConnectionOptions::new("follower".to_owned(), WAIT, WAIT);
        let address = spu.data_address().to_string();
        Self {
            connection: Connection::open(&address, &options, &tasks).await.unwrap(),
            replicas,
            _tasks: tasks,
        }
    }

    /// Names partitions with where their copies end, and waits for so long for more.
    async fn fetch(
        &self,
        (session_id, session_epoch): (i32, i32),
        named: &[(usize, i64)],
        wait: Duration,
    ) -> FetchResponse {
        let partitions = named.iter();
        let partitions = partitions.map(|(partition, end)| self.partition(*partition, *end));
        let request = request(partitions.collect())
            .with_session_id(session_id)
            .with_session_epoch(session_epoch)
            .with_max_wait_ms(i32::try_from(wait.as_millis()).unwrap());
        self.connection.call(&request, WAIT * 2).await.unwrap()
    }

    /// Names the first partition with where its copy ends, and asks for what comes from `from` on.
    async fn read_ahead(&self, end: i64, from: i64) -> PartitionData {
        let mut asked = self.partition(0, end);
        tags::set_read_ahead(&mut asked.unknown_tagged_fields, Offset(from));
        let request = request(vec![asked]).with_session_epoch(-1);
        let mut answer: FetchResponse = self.connection.call(&request, WAIT).await.unwrap();
        answer.responses.remove(0).partitions.remove(0)
    }

    fn partition(&self, partition: usize, end: i64) -> FetchPartition {
        let mut asked = FetchPartition::default()
            .with_partition(i32::try_from(partition).unwrap())
            .with_current_leader_epoch(self.replicas[partition].leader_epoch().0)
            .with_fetch_offset(end)
            .with_partition_max_bytes(1 << 20);
        let follower = FollowerTag {
            topic: self.replicas[partition].id().topic,
            stable_end: Offset(end),
            life: LIFE,
        };
        tags::set_follower(&mut asked.unknown_tagged_fields, follower);
        asked
    }
}

/// Waits for nothing.
fn request(partitions: Vec<FetchPartition>) -> FetchRequest {
    let topic = FetchTopic::default().with_topic(StrBytes::from_static_str("orders").into());
    let topics = if partitions.is_empty() {
        vec![]
    } else {
        vec![topic.with_partitions(partitions)]
    };
    FetchRequest::default()
        .with_replica_id(BrokerId(OTHER))
        .with_min_bytes(1)
        .with_max_bytes(1 << 20)
        .with_topics(topics)
}

/// The partitions of an answer, and whether there are records for each.
fn told(answer: &FetchResponse) -> Vec<(i32, bool)> {
    assert_eq!(answer.error_code, 0);
    let partitions = answer.responses.iter().flat_map(|topic| &topic.partitions);
    partitions
        .map(|data| {
            assert_eq!(data.error_code, 0);
            let records = data.records.as_ref();
            let has_records = records.is_some_and(|records| !records.is_empty());
            (data.partition_index, has_records)
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_was_named_once_is_told_of_when_it_has_news() {
    let (script, dir) = (Script::new(), tempfile::tempdir().unwrap());
    let sc = ScriptedSc::start(&script).await;
    script.create_topic("orders", 2, &[]);
    let spu = start(&sc.address.to_string(), dir.path()).await;
    let follower = FollowerSpu::connect(&spu, &script).await;
    let [_, second] = &follower.replicas;

    let all = follower.fetch((0, 0), &[(0, 0), (1, 0)], Duration::ZERO);
    let all = all.await;
    assert_eq!(told(&all), [(0, false), (1, false)]);
    let id = all.session_id;
    assert_ne!(id, 0);

    let nothing = follower.fetch((id, 1), &[], Duration::ZERO).await;
    assert_eq!(told(&nothing), []);

    let mut appending = std::pin::pin!(append(second, &["a"]));
    let appended = async { futures::poll!(&mut appending).is_pending() };
    let (more, _) = tokio::join!(follower.fetch((id, 2), &[], WAIT), appended);
    assert_eq!(told(&more), [(1, true)], "long before the time is up");

    // It counts by now, as the SC may have let it join. What is committed it hears of once: at once, or
    // after the leader has synced it, too.
    let taken = follower.fetch((id, 3), &[(1, 1)], Duration::ZERO).await;
    appending.await.unwrap();
    let later = follower.fetch((id, 4), &[], Duration::ZERO).await;
    let committed = [taken, later].into_iter().flat_map(|answer| {
        let topics = answer.responses.into_iter();
        topics.flat_map(|topic| topic.partitions)
    });
    let committed: Vec<_> = committed.map(|data| data.high_watermark).collect();
    assert_eq!(committed, [1]);
    spu.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_former_session_said_does_not_count() {
    let (script, dir) = (Script::new(), tempfile::tempdir().unwrap());
    let sc = ScriptedSc::start(&script).await;
    script.create_topic("orders", 2, &[]);
    let spu = start(&sc.address.to_string(), dir.path()).await;
    let follower = FollowerSpu::connect(&spu, &script).await;
    let error = |answer: FetchResponse| (answer.error_code, answer.session_id);

    let unknown = follower.fetch((1, 1), &[], WAIT).await;
    assert_eq!(
        error(unknown),
        (KafkaError::FetchSessionIdNotFound.code(), 0)
    );
    let first = follower.fetch((0, 0), &[(0, 0)], Duration::ZERO).await;
    let again = follower.fetch((0, 0), &[(1, 0)], Duration::ZERO).await;
    assert_eq!(told(&again), [(1, false)]);
    let former = follower.fetch((first.session_id, 1), &[], WAIT).await;
    assert_eq!(
        error(former),
        (KafkaError::FetchSessionIdNotFound.code(), 0)
    );

    let begun = follower.fetch((0, 0), &[(0, 0)], Duration::ZERO).await;
    let skipped = follower.fetch((begun.session_id, 2), &[], WAIT).await;
    assert_eq!(
        error(skipped),
        (KafkaError::InvalidFetchSessionEpoch.code(), 0)
    );
    spu.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_ahead_does_not_count_before_it_is_written() {
    let (script, dir) = (Script::new(), tempfile::tempdir().unwrap());
    let sc = ScriptedSc::start(&script).await;
    script.create_topic("orders", 2, &[]);
    let spu = start(&sc.address.to_string(), dir.path()).await;
    let follower = FollowerSpu::connect(&spu, &script).await;
    let [replica, _] = &follower.replicas;
    for end in 1..=3 {
        // It is not committed: the follower counts, as the SC may have let it join.
        assert!(
            futures::poll!(std::pin::pin!(append(replica, &["a"]))).is_pending(),
            "nobody else has it"
        );
        until("the leader has written it", || {
            (replica.log().stable_end() == Offset(end)).then_some(())
        })
        .await;
    }

    let ahead = follower.read_ahead(1, 2).await;
    assert_eq!(ahead.error_code, 0);
    let records = ahead.records.unwrap();
    let first = thalweg_record::batches(&records).next().unwrap().unwrap();
    assert_eq!(first.header().base_offset, Offset(2));
    assert_eq!(replica.high_watermark(), Offset(1), "what it has written");

    let nothing_yet = follower.read_ahead(2, 3).await;
    assert!(nothing_yet.records.unwrap_or_default().is_empty());
    assert_eq!(replica.high_watermark(), Offset(2));
    for (end, from) in [(2, 4), (2, 1)] {
        let refused = follower.read_ahead(end, from).await;
        assert_eq!(refused.error_code, KafkaError::InvalidRequest.code());
    }
    spu.stop().await;
}
