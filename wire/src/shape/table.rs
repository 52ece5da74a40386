//! The shapes of the messages that an SPU and a client exchange, from Kafka's message schemas.
//!
//! Only the versions in [`ANNOUNCED`](crate::ANNOUNCED) are described.

use kafka_protocol::messages::ApiKey;

use super::{Field, Kind, Shape, groups, placement};
use crate::api::{CLOSE_STREAM_KEY, OPEN_STREAM_KEY};

pub(super) const BOOL: Kind = Kind::Fixed(1);
pub(super) const I8: Kind = Kind::Fixed(1);
pub(super) const I16: Kind = Kind::Fixed(2);
pub(super) const I32: Kind = Kind::Fixed(4);
pub(super) const I64: Kind = Kind::Fixed(8);
pub(super) const UUID: Kind = Kind::Fixed(16);
pub(super) const I32S: Kind = Kind::Numbers(4);

pub(super) const fn all(kind: Kind) -> Field {
    between(0, i16::MAX, kind)
}

pub(super) const fn since(from: i16, kind: Kind) -> Field {
    between(from, i16::MAX, kind)
}

pub(super) const fn between(from: i16, until: i16, kind: Kind) -> Field {
    Field { from, until, kind }
}

pub(super) const fn shape(flexible_from: i16, fields: &'static [Field]) -> Shape {
    Shape {
        flexible_from,
        fields,
        tagged_arrays: &[],
    }
}

/// The shape of the requests of API `key`; `None` for one that nobody here reads.
#[must_use]
pub fn request_shape(key: i16) -> Option<&'static Shape> {
    match key {
        OPEN_STREAM_KEY => return Some(&OPEN_STREAM),
        CLOSE_STREAM_KEY => return Some(&CLOSE_STREAM),
        _ => {}
    }
    Some(match ApiKey::try_from(key).ok()? {
        ApiKey::Produce => &PRODUCE,
        ApiKey::Fetch => &FETCH,
        ApiKey::ListOffsets => &LIST_OFFSETS,
        ApiKey::Metadata => &METADATA,
        ApiKey::ApiVersions => &API_VERSIONS,
        ApiKey::CreateTopics => &CREATE_TOPICS,
        ApiKey::DeleteTopics => &DELETE_TOPICS,
        ApiKey::DeleteRecords => &DELETE_RECORDS,
        ApiKey::InitProducerId => &INIT_PRODUCER_ID,
        ApiKey::OffsetForLeaderEpoch => &OFFSET_FOR_LEADER_EPOCH,
        ApiKey::DescribeConfigs => &DESCRIBE_CONFIGS,
        ApiKey::AlterConfigs => &ALTER_CONFIGS,
        ApiKey::CreatePartitions => &CREATE_PARTITIONS,
        ApiKey::IncrementalAlterConfigs => &INCREMENTAL_ALTER_CONFIGS,
        ApiKey::DescribeCluster => &DESCRIBE_CLUSTER,
        ApiKey::DescribeProducers => &DESCRIBE_PRODUCERS,
        other => return groups::request_shape(other).or_else(|| placement::request_shape(other)),
    })
}

/// The shape of the responses of API `key`; `None` for one that nobody here reads.
#[must_use]
pub fn response_shape(key: i16) -> Option<&'static Shape> {
    match key {
        OPEN_STREAM_KEY => return Some(&OPEN_STREAM_RESPONSE),
        CLOSE_STREAM_KEY => return Some(&CLOSE_STREAM_RESPONSE),
        _ => {}
    }
    Some(match ApiKey::try_from(key).ok()? {
        ApiKey::Produce => &PRODUCE_RESPONSE,
        ApiKey::Fetch => &FETCH_RESPONSE,
        ApiKey::ListOffsets => &LIST_OFFSETS_RESPONSE,
        ApiKey::Metadata => &METADATA_RESPONSE,
        ApiKey::ApiVersions => &API_VERSIONS_RESPONSE,
        ApiKey::CreateTopics => &CREATE_TOPICS_RESPONSE,
        ApiKey::DeleteTopics => &DELETE_TOPICS_RESPONSE,
        ApiKey::DeleteRecords => &DELETE_RECORDS_RESPONSE,
        ApiKey::InitProducerId => &INIT_PRODUCER_ID_RESPONSE,
        ApiKey::OffsetForLeaderEpoch => &OFFSET_FOR_LEADER_EPOCH_RESPONSE,
        ApiKey::DescribeConfigs => &DESCRIBE_CONFIGS_RESPONSE,
        ApiKey::AlterConfigs => &ALTER_CONFIGS_RESPONSE,
        ApiKey::CreatePartitions => &CREATE_PARTITIONS_RESPONSE,
        ApiKey::IncrementalAlterConfigs => &INCREMENTAL_ALTER_CONFIGS_RESPONSE,
        ApiKey::DescribeCluster => &DESCRIBE_CLUSTER_RESPONSE,
        ApiKey::DescribeProducers => &DESCRIBE_PRODUCERS_RESPONSE,
        other => return groups::response_shape(other).or_else(|| placement::response_shape(other)),
    })
}

static PRODUCE: Shape = shape(
    9,
    &[
        all(Kind::Text),
        all(I16),
        all(I32),
        all(Kind::Structs(&[
            all(Kind::Text),
            all(Kind::Structs(&[all(I32), all(Kind::Blob)])),
        ])),
    ],
);

static PRODUCE_RESPONSE: Shape = shape(
    9,
    &[
        all(Kind::Structs(&[
            all(Kind::Text),
            all(Kind::Structs(&[
                all(I32),
                all(I16),
                all(I64),
                all(I64),
                since(5, I64),
                since(8, Kind::Structs(&[all(I32), all(Kind::Text)])),
                since(8, Kind::Text),
            ])),
        ])),
        all(I32),
    ],
);

static FETCH: Shape = shape(
    12,
    &[
        all(I32),
        all(I32),
        all(I32),
        all(I32),
        all(I8),
        since(7, I32),
        since(7, I32),
        all(Kind::Structs(&[
            all(Kind::Text),
            all(Kind::Structs(&[
                all(I32),
                since(9, I32),
                all(I64),
                since(12, I32),
                since(5, I64),
                all(I32),
            ])),
        ])),
        since(7, Kind::Structs(&[all(Kind::Text), all(I32S)])),
        since(11, Kind::Text),
    ],
);

static FETCH_RESPONSE: Shape = shape(
    12,
    &[
        all(I32),
        since(7, I16),
        since(7, I32),
        all(Kind::Structs(&[
            all(Kind::Text),
            all(Kind::Structs(&[
                all(I32),
                all(I16),
                all(I64),
                all(I64),
                since(5, I64),
                all(Kind::Structs(&[all(I64), all(I64)])),
                since(11, I32),
                all(Kind::Blob),
            ])),
        ])),
    ],
);

static LIST_OFFSETS: Shape = shape(
    6,
    &[
        all(I32),
        since(2, I8),
        all(Kind::Structs(&[
            all(Kind::Text),
            all(Kind::Structs(&[all(I32), since(4, I32), all(I64)])),
        ])),
    ],
);

static LIST_OFFSETS_RESPONSE: Shape = shape(
    6,
    &[
        since(2, I32),
        all(Kind::Structs(&[
            all(Kind::Text),
            all(Kind::Structs(&[
                all(I32),
                all(I16),
                all(I64),
                all(I64),
                since(4, I32),
            ])),
        ])),
    ],
);

static METADATA: Shape = shape(
    9,
    &[
        all(Kind::Structs(&[since(10, UUID), all(Kind::Text)])),
        since(4, BOOL),
        between(8, 10, BOOL),
        since(8, BOOL),
    ],
);

static METADATA_RESPONSE: Shape = shape(
    9,
    &[
        since(3, I32),
        all(Kind::Structs(&[
            all(I32),
            all(Kind::Text),
            all(I32),
            since(1, Kind::Text),
        ])),
        since(2, Kind::Text),
        since(1, I32),
        all(Kind::Structs(&[
            all(I16),
            all(Kind::Text),
            since(10, UUID),
            since(1, BOOL),
            all(Kind::Structs(&[
                all(I16),
                all(I32),
                all(I32),
                since(7, I32),
                all(I32S),
                all(I32S),
                since(5, I32S),
            ])),
            since(8, I32),
        ])),
        between(8, 10, I32),
    ],
);

static API_VERSIONS: Shape = shape(3, &[since(3, Kind::Text), since(3, Kind::Text)]);

static API_VERSIONS_RESPONSE: Shape = Shape {
    flexible_from: 3,
    fields: &[
        all(I16),
        all(Kind::Structs(&[all(I16), all(I16), all(I16)])),
        since(1, I32),
    ],
    tagged_arrays: &[
        (0, &[all(Kind::Text), all(I16), all(I16)]),
        (2, &[all(Kind::Text), all(I16), all(I16)]),
    ],
};

static CREATE_TOPICS: Shape = shape(
    5,
    &[
        all(Kind::Structs(&[
            all(Kind::Text),
            all(I32),
            all(I16),
            all(Kind::Structs(&[all(I32), all(I32S)])),
            all(Kind::Structs(&[all(Kind::Text), all(Kind::Text)])),
        ])),
        all(I32),
        all(BOOL),
    ],
);

static CREATE_TOPICS_RESPONSE: Shape = shape(
    5,
    &[
        all(I32),
        all(Kind::Structs(&[
            all(Kind::Text),
            since(7, UUID),
            all(I16),
            all(Kind::Text),
            since(5, I32),
            since(5, I16),
            since(
                5,
                Kind::Structs(&[
                    all(Kind::Text),
                    all(Kind::Text),
                    all(BOOL),
                    all(I8),
                    all(BOOL),
                ]),
            ),
        ])),
    ],
);

static DELETE_TOPICS: Shape = shape(
    4,
    &[
        since(6, Kind::Structs(&[all(Kind::Text), all(UUID)])),
        between(0, 5, Kind::Texts),
        all(I32),
    ],
);

static DELETE_TOPICS_RESPONSE: Shape = shape(
    4,
    &[
        all(I32),
        all(Kind::Structs(&[
            all(Kind::Text),
            since(6, UUID),
            all(I16),
            since(5, Kind::Text),
        ])),
    ],
);

static DELETE_RECORDS: Shape = shape(
    2,
    &[
        all(Kind::Structs(&[
            all(Kind::Text),
            all(Kind::Structs(&[all(I32), all(I64)])),
        ])),
        all(I32),
    ],
);

static DELETE_RECORDS_RESPONSE: Shape = shape(
    2,
    &[
        all(I32),
        all(Kind::Structs(&[
            all(Kind::Text),
            all(Kind::Structs(&[all(I32), all(I64), all(I16)])),
        ])),
    ],
);

static INIT_PRODUCER_ID: Shape = shape(
    2,
    &[all(Kind::Text), all(I32), since(3, I64), since(3, I16)],
);

static INIT_PRODUCER_ID_RESPONSE: Shape = shape(2, &[all(I32), all(I16), all(I64), all(I16)]);

static OFFSET_FOR_LEADER_EPOCH: Shape = shape(
    4,
    &[
        since(3, I32),
        all(Kind::Structs(&[
            all(Kind::Text),
            all(Kind::Structs(&[all(I32), all(I32), all(I32)])),
        ])),
    ],
);

static OFFSET_FOR_LEADER_EPOCH_RESPONSE: Shape = shape(
    4,
    &[
        all(I32),
        all(Kind::Structs(&[
            all(Kind::Text),
            all(Kind::Structs(&[all(I16), all(I32), all(I32), all(I64)])),
        ])),
    ],
);

static DESCRIBE_CONFIGS: Shape = shape(
    4,
    &[
        all(Kind::Structs(&[all(I8), all(Kind::Text), all(Kind::Texts)])),
        all(BOOL),
        since(3, BOOL),
    ],
);

static DESCRIBE_CONFIGS_RESPONSE: Shape = shape(
    4,
    &[
        all(I32),
        all(Kind::Structs(&[
            all(I16),
            all(Kind::Text),
            all(I8),
            all(Kind::Text),
            all(Kind::Structs(&[
                all(Kind::Text),
                all(Kind::Text),
                all(BOOL),
                all(I8),
                all(BOOL),
                all(Kind::Structs(&[all(Kind::Text), all(Kind::Text), all(I8)])),
                since(3, I8),
                since(3, Kind::Text),
            ])),
        ])),
    ],
);

static ALTER_CONFIGS: Shape = shape(
    2,
    &[
        all(Kind::Structs(&[
            all(I8),
            all(Kind::Text),
            all(Kind::Structs(&[all(Kind::Text), all(Kind::Text)])),
        ])),
        all(BOOL),
    ],
);

static ALTER_CONFIGS_RESPONSE: Shape = shape(2, ALTERED);

static INCREMENTAL_ALTER_CONFIGS: Shape = shape(
    1,
    &[
        all(Kind::Structs(&[
            all(I8),
            all(Kind::Text),
            all(Kind::Structs(&[all(Kind::Text), all(I8), all(Kind::Text)])),
        ])),
        all(BOOL),
    ],
);

static INCREMENTAL_ALTER_CONFIGS_RESPONSE: Shape = shape(1, ALTERED);

const ALTERED: &[Field] = &[
    all(I32),
    all(Kind::Structs(&[
        all(I16),
        all(Kind::Text),
        all(I8),
        all(Kind::Text),
    ])),
];

static CREATE_PARTITIONS: Shape = shape(
    2,
    &[
        all(Kind::Structs(&[
            all(Kind::Text),
            all(I32),
            all(Kind::Structs(&[all(I32S)])),
        ])),
        all(I32),
        all(BOOL),
    ],
);

static CREATE_PARTITIONS_RESPONSE: Shape = shape(
    2,
    &[
        all(I32),
        all(Kind::Structs(&[all(Kind::Text), all(I16), all(Kind::Text)])),
    ],
);

static DESCRIBE_CLUSTER: Shape = shape(0, &[all(BOOL), since(1, I8)]);

static DESCRIBE_CLUSTER_RESPONSE: Shape = shape(
    0,
    &[
        all(I32),
        all(I16),
        all(Kind::Text),
        since(1, I8),
        all(Kind::Text),
        all(I32),
        all(Kind::Structs(&[
            all(I32),
            all(Kind::Text),
            all(I32),
            all(Kind::Text),
        ])),
        all(I32),
    ],
);

static OPEN_STREAM: Shape = shape(
    0,
    &[
        all(I8),
        all(Kind::Structs(&[
            all(Kind::Text),
            all(I8),
            // Wasm or a name: both are a length and bytes.
            all(Kind::Blob),
            all(Kind::Structs(&[all(Kind::Text), all(Kind::Text)])),
            since(1, Kind::Text),
            since(1, I64),
            since(1, I64),
        ])),
        all(Kind::Blob),
        since(1, Kind::Text),
        since(1, I8),
    ],
);

static OPEN_STREAM_RESPONSE: Shape = shape(0, &[all(I16), all(Kind::Text), all(I32)]);

static CLOSE_STREAM: Shape = shape(0, &[all(I32)]);

static CLOSE_STREAM_RESPONSE: Shape = shape(0, &[all(I16), all(Kind::Text)]);

static DESCRIBE_PRODUCERS: Shape = shape(0, &[all(Kind::Structs(&[all(Kind::Text), all(I32S)]))]);

static DESCRIBE_PRODUCERS_RESPONSE: Shape = shape(
    0,
    &[
        all(I32),
        all(Kind::Structs(&[
            all(Kind::Text),
            all(Kind::Structs(&[
                all(I32),
                all(I16),
                all(Kind::Text),
                all(Kind::Structs(&[
                    all(I64),
                    all(I32),
                    all(I32),
                    all(I64),
                    all(I32),
                    all(I64),
                ])),
            ])),
        ])),
    ],
);
