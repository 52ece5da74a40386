//! The metadata store over objects: the rules of any store, what others write, many objects.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt as _;
use thalweg_k8s_store::{KubernetesStore, connect};
use thalweg_metadata::conformance::{StoreUnderTest, every_rule};
use thalweg_metadata::{MetadataStore, Watch, WatchEvent, Write};
use thalweg_runtime::SystemClock;
use thalweg_tests_k8s::{Alone, Namespace, eventually, eventually_within};
use thalweg_types::resource::{
    ReplicaPlacement, Resource, ResourceKey, ResourceKind, ResourceVersion, Spu, SpuSpec, SpuState,
    SpuStatus, Topic, TopicSpec, TopicState, TopicStatus,
};
use thalweg_types::{ChainSpec, DirectoryId, Incarnation, SpuId, TopicConfig, TopicId};
use uuid::Uuid;

async fn open(namespace: &Namespace) -> KubernetesStore {
    namespace.establish_resources();
    let client = connect().await.unwrap();
    let clock = SystemClock::shared();
    KubernetesStore::open(client, namespace.name(), clock, None)
        .await
        .unwrap()
}

struct UnderTest {
    namespace: Namespace,
    store: KubernetesStore,
}

#[async_trait]
impl StoreUnderTest for UnderTest {
    fn store(&self) -> Arc<dyn MetadataStore> {
        Arc::new(self.store.clone())
    }

    async fn reopen(&mut self) {
        self.store = open(&self.namespace).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes: `cargo xtask k8s`"]
async fn it_keeps_every_rule_of_a_metadata_store() {
    every_rule(|| async {
        let namespace = Namespace::new("conformance").await;
        let store = open(&namespace).await;
        UnderTest { namespace, store }
    })
    .await;
}

async fn topic(store: &KubernetesStore, name: &str) -> Option<Topic> {
    let key = ResourceKey::Topic(name.parse().unwrap());
    match store.get(&key).await.unwrap() {
        Some(Resource::Topic(topic)) => Some(topic),
        _ => None,
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

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes: `cargo xtask k8s`"]
async fn a_topic_that_is_applied_becomes_a_row_and_stays_one_when_it_is_applied_again() {
    let namespace = Namespace::new("applied").await;
    let store = open(&namespace).await;
    let manifest = |more: &str| {
        format!(
            "apiVersion: thalweg.dev/v1alpha1\nkind: Topic\nmetadata: {{name: flights}}\nspec: {{partitions: 3{more}}}"
        )
    };

    namespace.apply_yaml(&manifest(""));
    let first = eventually("a row of the topic", async || {
        topic(&store, "flights").await
    })
    .await;
    assert_eq!(first.spec.placement.partition_count(), 3);
    assert_eq!(first.status.state, TopicState::Pending);

    namespace.apply_yaml(&manifest(", config: {retention.ms: 1000}"));
    let second = eventually("the row with the setting", async || {
        let topic = topic(&store, "flights").await?;
        let has_setting = topic.spec.config.overrides().next().is_some();
        has_setting.then_some(topic)
    })
    .await;
    assert_eq!(second.id, first.id, "its data stays its own");

    namespace.run(&["delete", "topic", "flights", "--wait=false"]);
    let marked = eventually("the row as it is being deleted", async || {
        let topic = topic(&store, "flights").await?;
        (topic.status.state == TopicState::Deleting).then_some(topic)
    })
    .await;
    let key = ResourceKey::Topic(marked.name.clone());
    let version = marked.version;
    let deleted = store.write(vec![Write::Delete { key, version }]).await;
    assert_eq!(deleted.unwrap(), [Ok(marked.into())]);
    assert_eq!(namespace.get(&["topic", "flights"]), None);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes: `cargo xtask k8s`"]
async fn a_name_that_kubernetes_does_not_allow_has_an_object_of_its_own() {
    let namespace = Namespace::new("names").await;
    let store = open(&namespace).await;
    let manifest = |object: &str| {
        format!(
            "apiVersion: thalweg.dev/v1alpha1\nkind: Topic\nmetadata: {{name: {object}}}\nspec: {{topicName: Late_Flights}}"
        )
    };

    namespace.apply_yaml(&manifest("wrong"));
    let message = eventually("what is wrong about the object", async || {
        let object = namespace.get(&["topic", "wrong"])?;
        let condition = &object["status"]["conditions"][0];
        (condition["reason"] == "WrongName").then(|| condition["message"].to_string())
    })
    .await;
    assert!(topic(&store, "Late_Flights").await.is_none());

    let right = message.split('`').nth(1).unwrap();
    namespace.apply_yaml(&manifest(right));
    eventually("a row of the topic", async || {
        topic(&store, "Late_Flights").await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes: `cargo xtask k8s`"]
async fn what_two_stores_write_is_judged_by_the_api_server() {
    let namespace = Namespace::new("two-stores").await;
    let (one, other) = (open(&namespace).await, open(&namespace).await);
    let made = one.write(vec![Write::Create(spu(0).into())]).await.unwrap();
    let made = made.into_iter().next().unwrap().unwrap();
    let key = made.key();
    eventually("the row in the other store", async || {
        other.get(&key).await.unwrap()
    })
    .await;

    let changed = |incarnation| {
        let Resource::Spu(mut spu) = made.clone() else {
            panic!("{made:?}")
        };
        spu.status.incarnation = Incarnation(incarnation);
        vec![Write::Update(spu.into())]
    };
    let (first, second) = tokio::join!(one.write(changed(2)), other.write(changed(3)));
    let outcomes = [&first.unwrap()[0], &second.unwrap()[0]].map(Result::is_ok);
    assert_eq!(
        outcomes.iter().filter(|won| **won).count(),
        1,
        "{outcomes:?}"
    );

    let again = one.write(vec![Write::Create(spu(0).into())]).await.unwrap();
    assert!(again[0].is_err(), "{again:?}");
}

fn topic_row(number: usize) -> Topic {
    Topic {
        name: format!("t{number}").parse().unwrap(),
        id: TopicId(Uuid::new_v4()),
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

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes: `cargo xtask k8s`"]
async fn ten_thousand_objects_are_listed_watched_and_listed_anew() {
    const COUNT: usize = 10_000;
    let alone = Alone::new().await;
    let namespace = alone.namespace("many");
    let writer = open(&namespace).await;
    let topics = (0..COUNT).map(|number| Write::Create(topic_row(number).into()));
    for written in writer.write(topics.collect()).await.unwrap() {
        written.unwrap();
    }
    writer.close().await;

    let store = open(&namespace).await;
    let topics = store.list(ResourceKind::Topic).await.unwrap();
    assert_eq!(topics.len(), COUNT);

    // The watch is cut, and what came before it is forgotten: all is listed anew.
    let mut watch = store.watch().await.unwrap();
    alone.restart("kube-apiserver", Duration::from_secs(1));
    alone.api_server_is_back().await;
    namespace.run(&[
        "patch",
        "topic",
        "t7",
        "--type=merge",
        "-p",
        r#"{"spec":{"partitions":2}}"#,
    ]);
    let grown = eventually_within(
        Duration::from_secs(120),
        "the change after the cut",
        async || {
            let topic = topic(&store, "t7").await?;
            (topic.spec.placement.partition_count() == 2).then_some(())
        },
    );
    grown.await;
    let told = told_of(&mut watch).await;
    assert!(told.len() <= 2, "only what has changed is told: {told:?}");
    assert_eq!(store.list(ResourceKind::Topic).await.unwrap().len(), COUNT);
}

/// The rows that a watch has told of until now, after its snapshot.
async fn told_of(watch: &mut Watch) -> BTreeSet<ResourceKey> {
    let mut told = BTreeSet::new();
    while let Ok(Some(event)) = tokio::time::timeout(Duration::from_millis(1), watch.next()).await {
        match event {
            WatchEvent::Snapshot(_) => {}
            WatchEvent::Upserted(row) => {
                told.insert(row.key());
            }
            WatchEvent::Deleted(key) => panic!("{key} was not deleted"),
        }
    }
    told
}
