//! Every message, in every version that we speak: what `kafka-protocol` writes is what a shape
//! describes, and what lies is refused before it costs memory.

use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;
use proptest::prelude::*;

use super::*;
use crate::{ANNOUNCED, OpenStreamRequest};

mod groups;
mod placement;

fn text(text: &'static str) -> StrBytes {
    StrBytes::from_static_str(text)
}

fn topic(name: &'static str) -> TopicName {
    TopicName(text(name))
}

fn versions_of(key: i16, known_min: i16) -> std::ops::RangeInclusive<i16> {
    let range = ANNOUNCED.iter().find(|range| range.key == key).unwrap();
    range.min.max(known_min)..=range.max
}

/// Writes and reads `request` and `response` in all versions, and a few damaged forms of them.
fn assert_shapes<R>(request: impl Fn(i16) -> R, response: impl Fn(i16) -> R::Response)
where
    R: Request + PartialEq + std::fmt::Debug,
    R::Response: PartialEq + std::fmt::Debug,
{
    for version in versions_of(<R as ApiRequest>::KEY, R::VERSIONS.min) {
        let frame = encode_request(&request(version), version, 7, "test").unwrap();
        let (header, message) = crate::decode_request_header(&frame.slice(4..)).unwrap();
        assert_eq!(header.correlation_id, 7);
        let decoded: R = decode_request(version, message.clone()).unwrap();
        assert_eq!(decoded, request(version), "request version {version}");
        let shape = shape::request_shape(<R as ApiRequest>::KEY).unwrap();
        let (_, extra) = shape.check_start(&message, version).unwrap();
        assert_eq!(extra, 0, "request version {version}");

        let frame = encode_response::<R>(&response(version), version, 8)
            .unwrap()
            .slice(4..);
        assert_eq!(peek_correlation_id(&frame), Some(8));
        let decoded = decode_response::<R>(version, frame.clone()).unwrap();
        assert_eq!(decoded, response(version), "response version {version}");

        for end in 0..message.len() {
            assert!(decode_request::<R>(version, message.slice(..end)).is_err());
        }
        for position in 0..message.len() {
            // An array that claims 2^31 - 1 elements, or 2^32 - 2 in the flexible encoding.
            for lie in [
                &[0x7f, 0xff, 0xff, 0xff][..],
                &[0xff, 0xff, 0xff, 0xff, 0x0f],
            ] {
                let mut damaged = BytesMut::from(&message[..]);
                let end = damaged.len().min(position + lie.len());
                damaged[position..end].copy_from_slice(&lie[..end - position]);
                let _ = decode_request::<R>(version, damaged.freeze());
            }
        }
        for position in 4..frame.len() {
            for lie in [
                &[0x7f, 0xff, 0xff, 0xff][..],
                &[0xff, 0xff, 0xff, 0xff, 0x0f],
            ] {
                let mut damaged = BytesMut::from(&frame[..]);
                let end = damaged.len().min(position + lie.len());
                damaged[position..end].copy_from_slice(&lie[..end - position]);
                let _ = decode_response::<R>(version, damaged.freeze());
            }
        }
    }
}

fn tagged(version: i16, flexible_from: i16) -> std::collections::BTreeMap<i32, Bytes> {
    let mut fields = std::collections::BTreeMap::new();
    if version >= flexible_from {
        fields.insert(20000, Bytes::from_static(b"tag"));
    }
    fields
}

#[test]
fn produce_has_its_shape_in_every_version() {
    use produce_request::{PartitionProduceData, TopicProduceData};
    use produce_response::{
        BatchIndexAndErrorMessage, PartitionProduceResponse, TopicProduceResponse,
    };

    assert_shapes(
        |version| {
            let partition = PartitionProduceData::default()
                .with_index(3)
                .with_records(Some(Bytes::from_static(b"records")))
                .with_unknown_tagged_fields(tagged(version, 9));
            ProduceRequest::default()
                .with_transactional_id(Some(TransactionalId(text("tx"))))
                .with_acks(-1)
                .with_timeout_ms(5)
                .with_topic_data(vec![
                    TopicProduceData::default()
                        .with_name(topic("flights"))
                        .with_partition_data(vec![partition.clone(), partition.with_records(None)]),
                ])
        },
        |version| {
            let mut partition = PartitionProduceResponse::default()
                .with_base_offset(9)
                .with_unknown_tagged_fields(tagged(version, 9));
            if version >= 8 {
                partition = partition
                    .with_error_message(Some(text("no")))
                    .with_record_errors(vec![
                        BatchIndexAndErrorMessage::default().with_batch_index(1),
                    ]);
            }
            ProduceResponse::default().with_responses(vec![
                TopicProduceResponse::default()
                    .with_name(topic("flights"))
                    .with_partition_responses(vec![partition]),
            ])
        },
    );
}

#[test]
fn fetch_has_its_shape_in_every_version() {
    use fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
    use fetch_response::{
        AbortedTransaction, EpochEndOffset, FetchableTopicResponse, PartitionData,
    };

    assert_shapes(
        |version| {
            let mut request = FetchRequest::default().with_topics(vec![
                FetchTopic::default()
                    .with_topic(topic("flights"))
                    .with_partitions(vec![
                        FetchPartition::default()
                            .with_partition(1)
                            .with_unknown_tagged_fields(tagged(version, 12)),
                    ]),
            ]);
            if version >= 7 {
                request = request.with_forgotten_topics_data(vec![
                    ForgottenTopic::default()
                        .with_topic(topic("old"))
                        .with_partitions(vec![1, 2, 3]),
                ]);
            }
            if version >= 11 {
                request = request.with_rack_id(text("rack"));
            }
            if version >= 12 {
                request = request.with_cluster_id(Some(text("cluster")));
            }
            request
        },
        |version| {
            let mut partition = PartitionData::default()
                .with_records(Some(Bytes::from_static(b"records")))
                .with_aborted_transactions(Some(vec![AbortedTransaction::default()]))
                .with_unknown_tagged_fields(tagged(version, 12));
            if version >= 12 {
                partition = partition.with_diverging_epoch(
                    EpochEndOffset::default().with_epoch(4).with_end_offset(7),
                );
            }
            FetchResponse::default().with_responses(vec![
                FetchableTopicResponse::default()
                    .with_topic(topic("flights"))
                    .with_partitions(vec![partition]),
            ])
        },
    );
}

#[test]
fn offsets_have_their_shapes_in_every_version() {
    use list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
    use list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
    use offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
    use offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};

    assert_shapes(
        |_| {
            ListOffsetsRequest::default().with_topics(vec![
                ListOffsetsTopic::default()
                    .with_name(topic("flights"))
                    .with_partitions(vec![ListOffsetsPartition::default().with_timestamp(-2)]),
            ])
        },
        |_| {
            ListOffsetsResponse::default().with_topics(vec![
                ListOffsetsTopicResponse::default()
                    .with_name(topic("flights"))
                    .with_partitions(vec![ListOffsetsPartitionResponse::default().with_offset(2)]),
            ])
        },
    );
    assert_shapes(
        |_| {
            OffsetForLeaderEpochRequest::default().with_topics(vec![
                OffsetForLeaderTopic::default()
                    .with_topic(topic("flights"))
                    .with_partitions(vec![OffsetForLeaderPartition::default()]),
            ])
        },
        |_| {
            OffsetForLeaderEpochResponse::default().with_topics(vec![
                OffsetForLeaderTopicResult::default()
                    .with_topic(topic("flights"))
                    .with_partitions(vec![EpochEndOffset::default()]),
            ])
        },
    );
}

#[test]
fn cluster_messages_have_their_shapes_in_every_version() {
    use api_versions_response::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey};
    use describe_cluster_response::DescribeClusterBroker;
    use metadata_request::MetadataRequestTopic;
    use metadata_response::{
        MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
    };

    assert_shapes(
        |_| {
            MetadataRequest::default().with_topics(Some(vec![
                MetadataRequestTopic::default().with_name(Some(topic("flights"))),
            ]))
        },
        |version| {
            let partition = MetadataResponsePartition::default()
                .with_replica_nodes(vec![BrokerId(0), BrokerId(1)])
                .with_isr_nodes(vec![BrokerId(0)]);
            let mut response = MetadataResponse::default()
                .with_brokers(vec![
                    MetadataResponseBroker::default().with_host(text("host")),
                ])
                .with_topics(vec![
                    MetadataResponseTopic::default()
                        .with_name(Some(topic("flights")))
                        .with_partitions(vec![partition]),
                ]);
            if version >= 2 {
                response = response.with_cluster_id(Some(text("cluster")));
            }
            response
        },
    );
    assert_shapes(
        |version| {
            let request = ApiVersionsRequest::default();
            if version >= 3 {
                request
                    .with_client_software_name(text("thalweg"))
                    .with_client_software_version(text("0.1.0"))
            } else {
                request
            }
        },
        |version| {
            let response =
                ApiVersionsResponse::default().with_api_keys(vec![ApiVersion::default()]);
            if version >= 3 {
                response
                    .with_supported_features(vec![
                        SupportedFeatureKey::default().with_name(text("feature")),
                    ])
                    .with_finalized_features_epoch(3)
                    .with_finalized_features(vec![
                        FinalizedFeatureKey::default().with_name(text("feature")),
                    ])
            } else {
                response
            }
        },
    );
    assert_shapes(
        |_| DescribeClusterRequest::default(),
        |_| {
            DescribeClusterResponse::default()
                .with_cluster_id(text("cluster"))
                .with_brokers(vec![
                    DescribeClusterBroker::default().with_host(text("host")),
                ])
        },
    );
    assert_shapes(
        |version| {
            let request = InitProducerIdRequest::default()
                .with_transactional_id(Some(TransactionalId(text("tx"))));
            if version >= 3 {
                request
                    .with_producer_id(ProducerId(4))
                    .with_producer_epoch(1)
            } else {
                request
            }
        },
        |_| InitProducerIdResponse::default(),
    );
}

#[test]
fn topic_administration_has_its_shapes_in_every_version() {
    use create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic};
    use create_partitions_response::CreatePartitionsTopicResult;
    use create_topics_request::{CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig};
    use create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
    use delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
    use delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
    use delete_topics_request::DeleteTopicState;
    use delete_topics_response::DeletableTopicResult;

    assert_shapes(
        |_| {
            CreateTopicsRequest::default().with_topics(vec![
                CreatableTopic::default()
                    .with_name(topic("flights"))
                    .with_assignments(vec![
                        CreatableReplicaAssignment::default().with_broker_ids(vec![BrokerId(1)]),
                    ])
                    .with_configs(vec![
                        CreatableTopicConfig::default()
                            .with_name(text("durability"))
                            .with_value(Some(text("memory"))),
                    ]),
            ])
        },
        |version| {
            let mut result = CreatableTopicResult::default()
                .with_name(topic("flights"))
                .with_error_message(Some(text("no")));
            if version >= 5 {
                result = result
                    .with_topic_config_error_code(5)
                    .with_configs(Some(vec![CreatableTopicConfigs::default()]));
            }
            CreateTopicsResponse::default().with_topics(vec![result])
        },
    );
    assert_shapes(
        |version| {
            let request = DeleteTopicsRequest::default();
            if version >= 6 {
                request.with_topics(vec![
                    DeleteTopicState::default().with_name(Some(topic("flights"))),
                ])
            } else {
                request.with_topic_names(vec![topic("flights"), topic("old")])
            }
        },
        |_| {
            DeleteTopicsResponse::default().with_responses(vec![
                DeletableTopicResult::default().with_name(Some(topic("flights"))),
            ])
        },
    );
    assert_shapes(
        |_| {
            CreatePartitionsRequest::default().with_topics(vec![
                CreatePartitionsTopic::default()
                    .with_name(topic("flights"))
                    .with_assignments(Some(vec![
                        CreatePartitionsAssignment::default().with_broker_ids(vec![BrokerId(1)]),
                    ])),
            ])
        },
        |_| {
            CreatePartitionsResponse::default()
                .with_results(vec![CreatePartitionsTopicResult::default()])
        },
    );
    assert_shapes(
        |_| {
            DeleteRecordsRequest::default().with_topics(vec![
                DeleteRecordsTopic::default()
                    .with_name(topic("flights"))
                    .with_partitions(vec![DeleteRecordsPartition::default()]),
            ])
        },
        |_| {
            DeleteRecordsResponse::default().with_topics(vec![
                DeleteRecordsTopicResult::default()
                    .with_partitions(vec![DeleteRecordsPartitionResult::default()]),
            ])
        },
    );
}

#[test]
fn settings_have_their_shapes_in_every_version() {
    use describe_configs_request::DescribeConfigsResource;
    use describe_configs_response::{
        DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
    };

    assert_shapes(
        |_| {
            DescribeConfigsRequest::default().with_resources(vec![
                DescribeConfigsResource::default()
                    .with_resource_name(text("flights"))
                    .with_configuration_keys(Some(vec![text("durability")])),
            ])
        },
        |version| {
            let mut setting = DescribeConfigsResourceResult::default()
                .with_name(text("durability"))
                .with_synonyms(vec![DescribeConfigsSynonym::default()]);
            if version >= 3 {
                setting = setting.with_documentation(Some(text("what it means")));
            }
            DescribeConfigsResponse::default().with_results(vec![
                DescribeConfigsResult::default().with_configs(vec![setting]),
            ])
        },
    );
    assert_shapes(
        |_| {
            let setting = incremental_alter_configs_request::AlterableConfig::default()
                .with_name(text("durability"))
                .with_value(Some(text("memory")));
            IncrementalAlterConfigsRequest::default().with_resources(vec![
                incremental_alter_configs_request::AlterConfigsResource::default()
                    .with_configs(vec![setting]),
            ])
        },
        |_| {
            IncrementalAlterConfigsResponse::default().with_responses(vec![
                incremental_alter_configs_response::AlterConfigsResourceResponse::default(),
            ])
        },
    );
    assert_shapes(
        |_| {
            let setting = alter_configs_request::AlterableConfig::default()
                .with_name(text("durability"))
                .with_value(Some(text("memory")));
            AlterConfigsRequest::default().with_resources(vec![
                alter_configs_request::AlterConfigsResource::default().with_configs(vec![setting]),
            ])
        },
        |_| {
            AlterConfigsResponse::default().with_responses(vec![
                alter_configs_response::AlterConfigsResourceResponse::default(),
            ])
        },
    );
}

#[test]
fn a_short_frame_that_claims_billions_of_elements_is_refused() {
    // Metadata version 0: an array of 2^31 - 1 topics.
    let frame = Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff, 0, 1, b'a']);

    let error = decode_request::<MetadataRequest>(0, frame).unwrap_err();

    assert_eq!(
        error.to_string(),
        "message of API 3 version 0 is malformed: an array claims 2147483647 elements, 3 bytes are left"
    );
}

#[test]
fn what_librdkafka_leaves_behind_a_request_for_all_topics_is_ignored() {
    let message = Bytes::from_static(&[0, 0, 0, 0, 1, 0, 0]);

    let request: MetadataRequest = decode_request(12, message).unwrap();

    assert_eq!(request.topics, None);
}

#[test]
fn an_api_without_a_shape_is_not_decoded() {
    assert!(decode_request::<TxnOffsetCommitRequest>(0, Bytes::from_static(&[0; 64])).is_err());
}

fn stream_step() -> impl Strategy<Value = crate::StreamStep> {
    let source = prop_oneof![
        any::<Vec<u8>>().prop_map(|wasm| crate::ModuleSource::Wasm(wasm.into())),
        any::<String>().prop_map(crate::ModuleSource::Registered),
    ];
    let bound = || prop::option::of(0..u64::MAX / 2);
    (
        any::<String>(),
        source,
        any::<std::collections::BTreeMap<String, String>>(),
        prop_oneof![Just("stop"), Just("skip"), Just("dead_letter:failed")],
        (bound(), bound()),
    )
        .prop_map(
            |(name, source, params, on_error, (last, age_ms))| crate::StreamStep {
                name,
                source,
                params,
                on_error: on_error.parse().unwrap(),
                look_back: (last.is_some() || age_ms.is_some())
                    .then_some(thalweg_types::LookBack { last, age_ms }),
            },
        )
}

proptest! {
    #[test]
    fn streams_survive_the_round_trip(
        is_produce: bool,
        steps in prop::collection::vec(stream_step(), 0..4),
        accumulator: Option<Vec<u8>>,
        is_by_key: bool,
    ) {
        let purpose = if is_produce { crate::StreamPurpose::Produce } else { crate::StreamPurpose::Consume };
        let request = OpenStreamRequest {
            purpose,
            steps,
            accumulator: accumulator.map(Bytes::from),
            topic: Some("flights".parse().unwrap()),
            is_by_key,
        };

        let frame = encode_request(&request, 1, 1, "test").unwrap();
        let (_, message) = crate::decode_request_header(&frame.slice(4..)).unwrap();

        prop_assert_eq!(decode_request::<OpenStreamRequest>(1, message).unwrap(), request);
    }

    #[test]
    fn garbage_never_panics(bytes: Vec<u8>, version in 0_i16..13) {
        let bytes = Bytes::from(bytes);
        macro_rules! try_all {
            ($($request:ty),*) => {$(
                let _ = decode_request::<$request>(version, bytes.clone());
                let _ = decode_response::<$request>(version, bytes.clone());
            )*};
        }
        try_all!(
            ProduceRequest, FetchRequest, ListOffsetsRequest, MetadataRequest, ApiVersionsRequest,
            CreateTopicsRequest, DeleteTopicsRequest, DeleteRecordsRequest, InitProducerIdRequest,
            OffsetForLeaderEpochRequest, DescribeConfigsRequest, AlterConfigsRequest,
            CreatePartitionsRequest, IncrementalAlterConfigsRequest, DescribeClusterRequest,
            DescribeProducersRequest,
            OffsetCommitRequest, OffsetFetchRequest, FindCoordinatorRequest, JoinGroupRequest,
            HeartbeatRequest, LeaveGroupRequest, SyncGroupRequest, DescribeGroupsRequest,
            ListGroupsRequest, DeleteGroupsRequest, OffsetDeleteRequest,
            ConsumerGroupHeartbeatRequest, ConsumerGroupDescribeRequest,
            OpenStreamRequest, crate::CloseStreamRequest
        );
    }
}
