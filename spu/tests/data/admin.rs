//! What clients learn of the cluster, and what an SPU says while the SC is away or unwilling.

use thalweg_types::ConfigKey;
use thalweg_wire::StrBytes;
use thalweg_wire::messages::create_topics_request::CreatableTopic;
use thalweg_wire::messages::describe_configs_request::DescribeConfigsResource;
use thalweg_wire::messages::metadata_request::MetadataRequestTopic;
use thalweg_wire::messages::{
    CreateTopicsRequest, DescribeClusterRequest, DescribeConfigsRequest, InitProducerIdRequest,
    MetadataRequest, TransactionalId,
};

use crate::setup::{TestSpu, topic};

#[tokio::test]
async fn what_is_asked_for_again_and_again_is_answered_once() {
    let spu = TestSpu::start().await;
    let mut client = spu.client().await;
    let topics = (0..1000).map(|number| {
        let id = uuid::Uuid::from_u128(number);
        MetadataRequestTopic::default()
            .with_name(Some(topic("t")))
            .with_topic_id(id)
    });
    let resource = || {
        DescribeConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name("t".into())
    };

    let metadata = MetadataRequest::default().with_topics(Some(topics.collect()));
    let metadata = client.call(&metadata, 12).await;
    let configs =
        DescribeConfigsRequest::default().with_resources((0..1000).map(|_| resource()).collect());
    let configs = client.call(&configs, 4).await;

    assert_eq!(metadata.topics.len(), 1);
    assert_eq!(configs.results.len(), 1);
}

#[tokio::test]
async fn metadata_names_all_none_or_those_asked_for() {
    let spu = TestSpu::start().await;
    spu.create_topic("other", 1, &[]).await;
    let mut client = spu.client().await;
    let asked = |name| MetadataRequestTopic::default().with_name(Some(topic(name)));

    let all = client
        .call(&MetadataRequest::default().with_topics(None), 12)
        .await;
    let none = client
        .call(&MetadataRequest::default().with_topics(Some(vec![])), 12)
        .await;
    let listed = MetadataRequest::default().with_topics(Some(vec![
        asked("t"),
        asked("nowhere"),
        asked("no name"),
    ]));
    let listed = client.call(&listed, 12).await;

    assert_eq!(all.topics.len(), 2);
    assert!(none.topics.is_empty());
    let codes: Vec<_> = listed.topics.iter().map(|topic| topic.error_code).collect();
    assert_eq!(codes, [0, 3, 17]);
    assert_eq!(listed.topics[0].partitions.len(), 2);
    assert!(!listed.topics[0].topic_id.is_nil());
    let by_id = MetadataRequestTopic::default()
        .with_name(None)
        .with_topic_id(listed.topics[0].topic_id);
    let by_id = client
        .call(
            &MetadataRequest::default().with_topics(Some(vec![by_id])),
            12,
        )
        .await;
    assert_eq!(by_id.topics[0].name, Some(topic("t")));
    for version in 0..=12 {
        let topics = Some(vec![asked("t"), asked("nowhere")]);
        let answer = client
            .call(&MetadataRequest::default().with_topics(topics), version)
            .await;
        assert_eq!(answer.topics.len(), 2, "version {version}");
    }
}

#[tokio::test]
async fn every_setting_is_described_with_its_source_and_meaning() {
    let spu = TestSpu::start().await;
    let mut client = spu.client().await;
    let resource = |resource_type, name: &'static str| {
        DescribeConfigsResource::default()
            .with_resource_type(resource_type)
            .with_resource_name(StrBytes::from_static_str(name))
            .with_configuration_keys(None)
    };
    let request = DescribeConfigsRequest::default()
        .with_include_synonyms(true)
        .with_include_documentation(true)
        .with_resources(vec![
            resource(2, "t"),
            resource(4, "0"),
            resource(4, "9"),
            resource(2, "nowhere"),
            resource(8, "0"),
        ]);

    let response = client.call(&request, 4).await;

    let [t, own, other, nowhere, loggers] = &response.results[..] else {
        panic!("one result for each resource");
    };
    assert_eq!(t.configs.len(), ConfigKey::ALL.len());
    assert!(
        t.configs
            .iter()
            .all(|setting| setting.documentation.is_some())
    );
    let set: Vec<_> = t
        .configs
        .iter()
        .filter(|setting| setting.config_source == 1)
        .collect();
    assert_eq!(set.len(), 1);
    assert_eq!(set[0].name.as_str(), "durability");
    assert_eq!(set[0].synonyms.len(), 2);
    assert!(
        own.configs
            .iter()
            .any(|setting| setting.name.as_str() == "broker.id")
    );
    assert_eq!(
        (other.error_code, nowhere.error_code, loggers.error_code),
        (42, 3, 42)
    );
    for version in 1..=3 {
        let request = request.clone().with_include_documentation(version >= 3);
        assert_eq!(client.call(&request, version).await.results.len(), 5);
    }
}

#[tokio::test]
async fn producers_get_identities_and_transactions_are_refused() {
    let spu = TestSpu::start().await;
    let mut client = spu.client().await;
    let idempotent = InitProducerIdRequest::default().with_transactional_id(None);
    let transactional = InitProducerIdRequest::default()
        .with_transactional_id(Some(TransactionalId(StrBytes::from_static_str("tx"))));

    let first = client.call(&idempotent, 4).await;
    let second = client.call(&idempotent, 4).await;
    let refused = client.call(&transactional, 4).await;

    assert_eq!((first.error_code, first.producer_epoch), (0, 0));
    assert_ne!(first.producer_id, second.producer_id);
    assert_eq!(refused.error_code, 53);
    assert_eq!(refused.producer_id.0, -1);
}

#[tokio::test]
async fn the_cluster_is_described() {
    let spu = TestSpu::start().await;
    let mut client = spu.client().await;

    let cluster = client.call(&DescribeClusterRequest::default(), 1).await;
    let controllers = DescribeClusterRequest::default().with_endpoint_type(2);
    let controllers = client.call(&controllers, 1).await;

    assert_eq!(cluster.error_code, 0);
    assert_eq!(cluster.cluster_id.len(), 36);
    assert_eq!(controllers.error_code, 114, "MISMATCHED_ENDPOINT_TYPE");
}

#[tokio::test]
async fn a_topic_that_can_not_be_is_refused_with_kafkas_codes() {
    let spu = TestSpu::start().await;
    let mut client = spu.client().await;
    let create = |name, partitions, replication| {
        CreateTopicsRequest::default().with_topics(vec![
            CreatableTopic::default()
                .with_name(topic(name))
                .with_num_partitions(partitions)
                .with_replication_factor(replication),
        ])
    };

    let mut codes = Vec::new();
    for request in [create("a b", 1, 1), create("x", 0, 1), create("x", 1, 7)] {
        let response = client.call(&request, 7).await;
        assert!(response.topics[0].error_message.is_some());
        codes.push(response.topics[0].error_code);
    }

    assert_eq!(codes, [17, 37, 38]);
}
