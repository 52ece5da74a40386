//! What any [`MetadataStore`] has to pass, one rule per function. A panic names the broken rule.
//!
//! A store's tests implement [`StoreUnderTest`] and call [`every_rule`] with a way to make a fresh
//! one.
#![expect(clippy::unwrap_used, reason = "a panic is how a broken rule is told")]

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use futures::{FutureExt, StreamExt};
use thalweg_types::resource::{
    BackfillSpec, CanarySpec, OutputPartitioning, Partition, PartitionSpec, PartitionStatus,
    ReplicaPlacement, Resource, ResourceKey, ResourceKind, ResourceVersion, RevisionSpec, Spu,
    SpuSpec, SpuState, SpuStatus, StartPosition, Topic, TopicSpec, TopicState, TopicStatus,
    Transform, TransformNumber, TransformRevision, TransformSpec, TransformState, TransformStatus,
};
use thalweg_types::{
    Capabilities, ChainSpec, CompressionPolicy, DirectoryId, Incarnation, LeaderEpoch, LookBack,
    Offset, OnError, PartitionEpoch, PartitionId, PartitionIndex, SpuId, StepSpec, TopicConfig,
    TopicId,
};
use uuid::Uuid;

use crate::{Counter, MetadataStore, Refused, Watch, WatchEvent, Write};

/// An empty store, and a way to kill and reopen it.
#[async_trait]
pub trait StoreUnderTest: Send {
    /// The store as it is.
    fn store(&self) -> Arc<dyn MetadataStore>;

    /// Closes the store as abruptly as it can and opens it again over what it had acknowledged.
    async fn reopen(&mut self);
}

/// Checks every rule, each on a fresh store from `fresh`.
///
/// # Panics
/// When the store breaks a rule.
pub async fn every_rule<S, F>(mut fresh: impl FnMut() -> F)
where
    S: StoreUnderTest,
    F: Future<Output = S>,
{
    what_is_created_can_be_read(&fresh().await).await;
    kinds_are_listed_apart_and_in_order(&fresh().await).await;
    what_exists_is_not_created_again(&fresh().await).await;
    an_update_against_an_old_version_is_refused(&fresh().await).await;
    a_deletion_against_an_old_version_is_refused(&fresh().await).await;
    what_does_not_exist_is_neither_updated_nor_deleted(&fresh().await).await;
    a_version_is_never_used_twice(&mut fresh().await).await;
    a_refused_write_does_not_stop_the_others(&fresh().await).await;
    writes_of_one_call_are_judged_in_their_order(&fresh().await).await;
    of_racing_updates_one_wins(&fresh().await).await;
    what_was_acknowledged_survives(&mut fresh().await).await;
    numbers_are_given_out_once(&mut fresh().await).await;
    a_watch_begins_with_all_there_is(&fresh().await).await;
    a_watch_tells_every_change_in_order(&fresh().await).await;
    a_watch_that_starts_amid_writes_misses_nothing(&fresh().await).await;
    a_watcher_that_falls_behind_ends_with_the_truth(&fresh().await).await;
}

async fn what_is_created_can_be_read(under_test: &impl StoreUnderTest) {
    let store = under_test.store();

    for resource in [
        topic("t").into(),
        partition("t", 0).into(),
        spu(3).into(),
        transform("t").into(),
    ] {
        let stored = create(&store, resource).await;

        assert_ne!(stored.version(), ResourceVersion(0), "a row has a version");
        assert_eq!(store.get(&stored.key()).await.unwrap(), Some(stored));
    }
    assert_eq!(store.get(&topic_key("other")).await.unwrap(), None);
}

async fn kinds_are_listed_apart_and_in_order(under_test: &impl StoreUnderTest) {
    let store = under_test.store();
    for number in [10, 2, 0] {
        create(&store, partition("t", number).into()).await;
    }
    create(&store, topic("t").into()).await;

    let partitions = store.list(ResourceKind::Partition).await.unwrap();

    let keys: Vec<_> = partitions.iter().map(Resource::key).collect();
    let expected = [0, 2, 10].map(|number| Resource::from(partition("t", number)).key());
    assert_eq!(
        keys, expected,
        "partitions come in the order of their numbers"
    );
    assert_eq!(store.list(ResourceKind::Topic).await.unwrap().len(), 1);
    assert_eq!(store.list(ResourceKind::Spu).await.unwrap(), []);
    assert_eq!(store.list(ResourceKind::Transform).await.unwrap(), []);
}

async fn what_exists_is_not_created_again(under_test: &impl StoreUnderTest) {
    let store = under_test.store();
    let first = create(&store, topic("t").into()).await;

    let second = one(&store, Write::Create(topic("t").into())).await;

    assert_eq!(second, Err(Refused::AlreadyExists(topic_key("t"))));
    assert_eq!(store.get(&topic_key("t")).await.unwrap(), Some(first));
}

async fn an_update_against_an_old_version_is_refused(under_test: &impl StoreUnderTest) {
    let store = under_test.store();
    let first = create(&store, topic("t").into()).await;
    let second = one(&store, change(&first, 1)).await.unwrap();

    let refused = one(&store, change(&first, 2)).await;

    assert!(second.version() > first.version(), "versions grow");
    let expected = Refused::Conflict {
        key: topic_key("t"),
        expected: first.version(),
        found: second.version(),
    };
    assert_eq!(refused, Err(expected));
    assert_eq!(store.get(&topic_key("t")).await.unwrap(), Some(second));
}

async fn a_deletion_against_an_old_version_is_refused(under_test: &impl StoreUnderTest) {
    let store = under_test.store();
    let first = create(&store, topic("t").into()).await;
    let second = one(&store, change(&first, 1)).await.unwrap();

    assert!(matches!(
        one(&store, delete(&first)).await,
        Err(Refused::Conflict { .. })
    ));
    assert_eq!(one(&store, delete(&second)).await, Ok(second));
    assert_eq!(store.get(&topic_key("t")).await.unwrap(), None);
}

async fn what_does_not_exist_is_neither_updated_nor_deleted(under_test: &impl StoreUnderTest) {
    let store = under_test.store();
    let absent = Resource::from(topic("t"));

    let not_found = Err(Refused::NotFound(topic_key("t")));
    assert_eq!(one(&store, Write::Update(absent.clone())).await, not_found);
    assert_eq!(one(&store, delete(&absent)).await, not_found);
    assert_eq!(store.get(&topic_key("t")).await.unwrap(), None);
}

async fn a_version_is_never_used_twice(under_test: &mut impl StoreUnderTest) {
    let first = create(&under_test.store(), topic("t").into()).await;
    one(&under_test.store(), delete(&first)).await.unwrap();
    under_test.reopen().await;

    let second = create(&under_test.store(), topic("t").into()).await;

    assert!(
        second.version() > first.version(),
        "a row that was deleted and created again has a newer version"
    );
}

async fn a_refused_write_does_not_stop_the_others(under_test: &impl StoreUnderTest) {
    let store = under_test.store();
    create(&store, topic("b").into()).await;

    let answers = store
        .write(
            ["a", "b", "c"]
                .map(|name| Write::Create(topic(name).into()))
                .into(),
        )
        .await
        .unwrap();

    let made: Vec<_> = answers.iter().map(Result::is_ok).collect();
    assert_eq!(made, [true, false, true]);
    assert_eq!(store.list(ResourceKind::Topic).await.unwrap().len(), 3);
}

async fn writes_of_one_call_are_judged_in_their_order(under_test: &impl StoreUnderTest) {
    let store = under_test.store();
    let first = create(&store, topic("t").into()).await;

    let answers = store
        .write(vec![
            delete(&first),
            Write::Create(topic("t").into()),
            delete(&first),
        ])
        .await
        .unwrap();

    let made: Vec<_> = answers.iter().map(Result::is_ok).collect();
    assert_eq!(made, [true, true, false], "the deletion's version is gone");
}

async fn of_racing_updates_one_wins(under_test: &impl StoreUnderTest) {
    let store = under_test.store();
    let first = create(&store, spu(0).into()).await;

    let racing = (1..=20).map(|number| one(&store, change(&first, number)));
    let answers = join_all(racing).await;

    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
}

async fn what_was_acknowledged_survives(under_test: &mut impl StoreUnderTest) {
    let cluster_id = under_test.store().cluster_id();
    let kept = create(&under_test.store(), topic("kept").into()).await;
    let gone = create(&under_test.store(), topic("gone").into()).await;
    one(&under_test.store(), delete(&gone)).await.unwrap();
    let changed = one(&under_test.store(), change(&kept, 1)).await.unwrap();

    under_test.reopen().await;

    let store = under_test.store();
    assert_eq!(store.cluster_id(), cluster_id);
    assert_eq!(store.list(ResourceKind::Topic).await.unwrap(), [changed]);
}

async fn numbers_are_given_out_once(under_test: &mut impl StoreUnderTest) {
    let store = under_test.store();
    assert_eq!(store.take(Counter::ProducerId, 10).await.unwrap(), 1);
    assert_eq!(
        store.take(Counter::ControllerEpoch, 1).await.unwrap(),
        1,
        "counters are apart"
    );
    let racing = join_all((0..8).map(|_| store.take(Counter::ProducerId, 5))).await;
    let mut firsts: Vec<_> = racing.into_iter().map(Result::unwrap).collect();
    firsts.sort_unstable();
    assert!(firsts[0] >= 11, "the first block is taken");
    assert!(firsts.windows(2).all(|pair| pair[1] - pair[0] >= 5));
    drop(store);

    under_test.reopen().await;

    let next = under_test.store().take(Counter::ProducerId, 1).await;
    assert!(next.unwrap() >= firsts[7] + 5, "also not after a restart");
}

async fn a_watch_begins_with_all_there_is(under_test: &impl StoreUnderTest) {
    let store = under_test.store();
    let stored = create(&store, topic("t").into()).await;

    let mut watch = store.watch().await.unwrap();

    assert_eq!(next(&mut watch).await, WatchEvent::Snapshot(vec![stored]));
}

async fn a_watch_tells_every_change_in_order(under_test: &impl StoreUnderTest) {
    let store = under_test.store();
    let mut watch = store.watch().await.unwrap();
    assert_eq!(next(&mut watch).await, WatchEvent::Snapshot(Vec::new()));

    let a = create(&store, topic("a").into()).await;
    let b = create(&store, topic("b").into()).await;
    let a2 = one(&store, change(&a, 1)).await.unwrap();
    one(&store, change(&a, 2)).await.unwrap_err();
    one(&store, delete(&b)).await.unwrap();

    for expected in [
        WatchEvent::Upserted(a),
        WatchEvent::Upserted(b.clone()),
        WatchEvent::Upserted(a2),
        WatchEvent::Deleted(b.key()),
    ] {
        let told = watch.next().now_or_never().flatten();
        assert_eq!(told, Some(expected), "a change is there to be read");
    }
}

async fn a_watch_that_starts_amid_writes_misses_nothing(under_test: &impl StoreUnderTest) {
    let store = under_test.store();
    let writes = (0..40).map(|number| create(&store, spu(number).into()));
    let watches = (0..40).map(|_| async {
        let mut watch = store.watch().await.unwrap();
        let mut known = 0;
        let mut newest = ResourceVersion(0);
        while known < 40 {
            match next(&mut watch).await {
                WatchEvent::Snapshot(all) => {
                    known = all.len();
                    newest = all.iter().map(Resource::version).max().unwrap_or_default();
                }
                WatchEvent::Upserted(resource) => {
                    assert!(resource.version() > newest, "told twice or out of order");
                    newest = resource.version();
                    known += 1;
                }
                WatchEvent::Deleted(key) => panic!("nobody deleted {key}"),
            }
        }
    });

    futures::join!(join_all(writes), join_all(watches));
}

async fn a_watcher_that_falls_behind_ends_with_the_truth(under_test: &impl StoreUnderTest) {
    let store = under_test.store();
    let mut watch = store.watch().await.unwrap();
    next(&mut watch).await;

    // More changes than a store would hold for one watcher.
    let mut latest = create(&store, topic("t").into()).await;
    let gone = create(&store, topic("gone").into()).await;
    let many = (0..1_000).map(|number| Write::Create(spu(number).into()));
    let made = store.write(many.collect()).await.unwrap();
    let undo = made.into_iter().map(|row| delete(&row.unwrap()));
    store.write(undo.collect()).await.unwrap();
    one(&store, delete(&gone)).await.unwrap();
    latest = one(&store, change(&latest, 1)).await.unwrap();

    let mut known = std::collections::BTreeMap::new();
    while known.values().ne([&latest]) {
        match next(&mut watch).await {
            WatchEvent::Snapshot(all) => {
                known = all.into_iter().map(|row| (row.key(), row)).collect();
            }
            WatchEvent::Upserted(row) => {
                known.insert(row.key(), row);
            }
            WatchEvent::Deleted(key) => {
                known.remove(&key);
            }
        }
    }
}

async fn next(watch: &mut Watch) -> WatchEvent {
    tokio::time::timeout(Duration::from_secs(20), watch.next())
        .await
        .expect("the watch tells of the change within 20 seconds")
        .expect("the store is open")
}

async fn one(store: &Arc<dyn MetadataStore>, write: Write) -> Result<Resource, Refused> {
    let mut answers = store.write(vec![write]).await.unwrap();
    assert_eq!(answers.len(), 1, "one answer for one write");
    answers.remove(0)
}

async fn create(store: &Arc<dyn MetadataStore>, resource: Resource) -> Resource {
    one(store, Write::Create(resource)).await.unwrap()
}

/// An update that changes something, and another thing for each number: a store may give a row that stays
/// what it is no new version.
fn change(resource: &Resource, number: u64) -> Write {
    let mut changed = resource.clone();
    match &mut changed {
        Resource::Topic(topic) => {
            let retention = number.to_string();
            topic.spec.config.set("retention.ms", &retention).unwrap();
        }
        Resource::Spu(spu) => spu.status.incarnation = Incarnation(number + 1),
        other => panic!("{} is not changed here", other.key()),
    }
    Write::Update(changed)
}

fn delete(resource: &Resource) -> Write {
    Write::Delete {
        key: resource.key(),
        version: resource.version(),
    }
}

fn topic_key(name: &str) -> ResourceKey {
    ResourceKey::Topic(name.parse().unwrap())
}

fn topic(name: &str) -> Topic {
    Topic {
        name: name.parse().unwrap(),
        id: TopicId(Uuid::from_u128(7)),
        spec: TopicSpec {
            placement: ReplicaPlacement::Computed {
                partitions: 1,
                replication_factor: 1,
            },
            config: TopicConfig::default(),
            produce_chain: ChainSpec::default(),
        },
        status: TopicStatus {
            state: TopicState::Pending,
            reason: String::new(),
        },
        version: ResourceVersion(0),
    }
}

fn transform(name: &str) -> Transform {
    Transform {
        name: name.parse().unwrap(),
        number: TransformNumber(3),
        backfill_number: Some(TransformNumber(4)),
        spec: TransformSpec {
            inputs: vec!["in".parse().unwrap()],
            outputs: vec!["out".parse().unwrap()],
            chain: ChainSpec {
                steps: vec![StepSpec {
                    uses: "late@1.2.0".parse().unwrap(),
                    with: [("minutes".to_owned(), "60".to_owned())].into(),
                    look_back: None,
                    on_error: OnError::Skip,
                    aggregate: None,
                }],
            },
            start: StartPosition::Offset(Offset(7)),
            partitioning: OutputPartitioning::Preserve,
            compression: CompressionPolicy::Producer,
            dedup: Some(LookBack {
                last: Some(1_000),
                age_ms: Some(60_000),
            }),
            tables: vec!["airlines".parse().unwrap()],
            capabilities: Capabilities {
                key_value: true,
                ..Capabilities::default()
            },
            backfill: Some(BackfillSpec {
                chain: ChainSpec {
                    steps: vec![StepSpec {
                        uses: "late@2.0.0".parse().unwrap(),
                        with: std::collections::BTreeMap::new(),
                        look_back: None,
                        on_error: OnError::Stop,
                        aggregate: None,
                    }],
                },
                outputs: vec!["out-2".parse().unwrap()],
                start: StartPosition::Beginning,
            }),
            canary: Some(CanarySpec {
                percent: 25,
                chain: ChainSpec {
                    steps: vec![StepSpec {
                        uses: "late@1.3.0".parse().unwrap(),
                        with: std::collections::BTreeMap::new(),
                        look_back: None,
                        on_error: OnError::Stop,
                        aggregate: None,
                    }],
                },
            }),
            paused: true,
        },
        status: TransformStatus {
            state: TransformState::Pending,
            reason: "topic `in` is missing".to_owned(),
            history: vec![TransformRevision {
                revision: 3,
                at_ms: 1_700_000_000_000,
                runs: RevisionSpec {
                    chain: ChainSpec::default(),
                    partitioning: OutputPartitioning::Key,
                    compression: CompressionPolicy::Zstd,
                    dedup: None,
                    tables: Vec::new(),
                    capabilities: Capabilities::default(),
                },
            }],
        },
        version: ResourceVersion(0),
    }
}

fn partition(topic: &str, number: i32) -> Partition {
    Partition {
        topic: topic.parse().unwrap(),
        id: PartitionId {
            topic: TopicId(Uuid::from_u128(7)),
            partition: PartitionIndex(number),
        },
        spec: PartitionSpec::held_by(vec![SpuId(0)]),
        status: PartitionStatus {
            leader: None,
            leader_epoch: LeaderEpoch(0),
            isr: vec![SpuId(0)],
            partition_epoch: PartitionEpoch(0),
            reason: String::new(),
            unclean_elections: 0,
        },
        version: ResourceVersion(0),
    }
}

fn spu(id: i32) -> Spu {
    Spu {
        id: SpuId(id),
        spec: SpuSpec::default(),
        status: SpuStatus {
            state: SpuState::Online,
            data_address: "127.0.0.1:9092".to_owned(),
            incarnation: Incarnation(1),
            directory_id: DirectoryId(Uuid::from_u128(9)),
            software_version: "0.1.0".to_owned(),
        },
        version: ResourceVersion(0),
    }
}
