//! The shapes of the messages about consumer groups, from Kafka's message schemas.

use kafka_protocol::messages::ApiKey;

use super::table::{BOOL, I8, I16, I32, I32S, I64, UUID, all, between, shape, since};
use super::{Field, Kind, Shape};

/// The shape of the requests of an API about groups.
pub(super) fn request_shape(api: ApiKey) -> Option<&'static Shape> {
    Some(match api {
        ApiKey::OffsetCommit => &OFFSET_COMMIT,
        ApiKey::OffsetFetch => &OFFSET_FETCH,
        ApiKey::FindCoordinator => &FIND_COORDINATOR,
        ApiKey::JoinGroup => &JOIN_GROUP,
        ApiKey::Heartbeat => &HEARTBEAT,
        ApiKey::LeaveGroup => &LEAVE_GROUP,
        ApiKey::SyncGroup => &SYNC_GROUP,
        ApiKey::DescribeGroups => &DESCRIBE_GROUPS,
        ApiKey::ListGroups => &LIST_GROUPS,
        ApiKey::DeleteGroups => &DELETE_GROUPS,
        ApiKey::OffsetDelete => &OFFSET_DELETE,
        ApiKey::ConsumerGroupHeartbeat => &CONSUMER_GROUP_HEARTBEAT,
        ApiKey::ConsumerGroupDescribe => &CONSUMER_GROUP_DESCRIBE,
        _ => return None,
    })
}

/// The shape of the responses of an API about groups.
pub(super) fn response_shape(api: ApiKey) -> Option<&'static Shape> {
    Some(match api {
        ApiKey::OffsetCommit => &OFFSET_COMMIT_RESPONSE,
        ApiKey::OffsetFetch => &OFFSET_FETCH_RESPONSE,
        ApiKey::FindCoordinator => &FIND_COORDINATOR_RESPONSE,
        ApiKey::JoinGroup => &JOIN_GROUP_RESPONSE,
        ApiKey::Heartbeat => &HEARTBEAT_RESPONSE,
        ApiKey::LeaveGroup => &LEAVE_GROUP_RESPONSE,
        ApiKey::SyncGroup => &SYNC_GROUP_RESPONSE,
        ApiKey::DescribeGroups => &DESCRIBE_GROUPS_RESPONSE,
        ApiKey::ListGroups => &LIST_GROUPS_RESPONSE,
        ApiKey::DeleteGroups => &DELETE_GROUPS_RESPONSE,
        ApiKey::OffsetDelete => &OFFSET_DELETE_RESPONSE,
        ApiKey::ConsumerGroupHeartbeat => &CONSUMER_GROUP_HEARTBEAT_RESPONSE,
        ApiKey::ConsumerGroupDescribe => &CONSUMER_GROUP_DESCRIBE_RESPONSE,
        _ => return None,
    })
}

static FIND_COORDINATOR: Shape = shape(
    3,
    &[
        between(0, 3, Kind::Text),
        since(1, I8),
        since(4, Kind::Texts),
    ],
);

static FIND_COORDINATOR_RESPONSE: Shape = shape(
    3,
    &[
        since(1, I32),
        between(0, 3, I16),
        between(1, 3, Kind::Text),
        between(0, 3, I32),
        between(0, 3, Kind::Text),
        between(0, 3, I32),
        since(
            4,
            Kind::Structs(&[
                all(Kind::Text),
                all(I32),
                all(Kind::Text),
                all(I32),
                all(I16),
                all(Kind::Text),
            ]),
        ),
    ],
);

static OFFSET_COMMIT: Shape = shape(
    8,
    &[
        all(Kind::Text),
        all(I32),
        all(Kind::Text),
        since(7, Kind::Text),
        between(2, 4, I64),
        all(Kind::Structs(&[
            all(Kind::Text),
            all(Kind::Structs(&[
                all(I32),
                all(I64),
                since(6, I32),
                all(Kind::Text),
            ])),
        ])),
    ],
);

static OFFSET_COMMIT_RESPONSE: Shape = shape(
    8,
    &[
        since(3, I32),
        all(Kind::Structs(&[
            all(Kind::Text),
            all(Kind::Structs(&[all(I32), all(I16)])),
        ])),
    ],
);

const TOPIC_PARTITIONS: &[Field] = &[all(Kind::Text), all(I32S)];

static OFFSET_FETCH: Shape = shape(
    6,
    &[
        between(0, 7, Kind::Text),
        between(0, 7, Kind::Structs(TOPIC_PARTITIONS)),
        since(
            8,
            Kind::Structs(&[
                all(Kind::Text),
                since(9, Kind::Text),
                since(9, I32),
                all(Kind::Structs(TOPIC_PARTITIONS)),
            ]),
        ),
        since(7, BOOL),
    ],
);

const FETCHED_TOPICS: Kind = Kind::Structs(&[
    all(Kind::Text),
    all(Kind::Structs(&[
        all(I32),
        all(I64),
        since(5, I32),
        all(Kind::Text),
        all(I16),
    ])),
]);

static OFFSET_FETCH_RESPONSE: Shape = shape(
    6,
    &[
        since(3, I32),
        between(0, 7, FETCHED_TOPICS),
        between(2, 7, I16),
        since(
            8,
            Kind::Structs(&[all(Kind::Text), all(FETCHED_TOPICS), all(I16)]),
        ),
    ],
);

static JOIN_GROUP: Shape = shape(
    6,
    &[
        all(Kind::Text),
        all(I32),
        since(1, I32),
        all(Kind::Text),
        since(5, Kind::Text),
        all(Kind::Text),
        all(Kind::Structs(&[all(Kind::Text), all(Kind::Blob)])),
        since(8, Kind::Text),
    ],
);

static JOIN_GROUP_RESPONSE: Shape = shape(
    6,
    &[
        since(2, I32),
        all(I16),
        all(I32),
        since(7, Kind::Text),
        all(Kind::Text),
        all(Kind::Text),
        since(9, BOOL),
        all(Kind::Text),
        all(Kind::Structs(&[
            all(Kind::Text),
            since(5, Kind::Text),
            all(Kind::Blob),
        ])),
    ],
);

static SYNC_GROUP: Shape = shape(
    4,
    &[
        all(Kind::Text),
        all(I32),
        all(Kind::Text),
        since(3, Kind::Text),
        since(5, Kind::Text),
        since(5, Kind::Text),
        all(Kind::Structs(&[all(Kind::Text), all(Kind::Blob)])),
    ],
);

static SYNC_GROUP_RESPONSE: Shape = shape(
    4,
    &[
        since(1, I32),
        all(I16),
        since(5, Kind::Text),
        since(5, Kind::Text),
        all(Kind::Blob),
    ],
);

static HEARTBEAT: Shape = shape(
    4,
    &[
        all(Kind::Text),
        all(I32),
        all(Kind::Text),
        since(3, Kind::Text),
    ],
);

static HEARTBEAT_RESPONSE: Shape = shape(4, &[since(1, I32), all(I16)]);

static LEAVE_GROUP: Shape = shape(
    4,
    &[
        all(Kind::Text),
        between(0, 2, Kind::Text),
        since(
            3,
            Kind::Structs(&[all(Kind::Text), all(Kind::Text), since(5, Kind::Text)]),
        ),
    ],
);

static LEAVE_GROUP_RESPONSE: Shape = shape(
    4,
    &[
        since(1, I32),
        all(I16),
        since(
            3,
            Kind::Structs(&[all(Kind::Text), all(Kind::Text), all(I16)]),
        ),
    ],
);

static DESCRIBE_GROUPS: Shape = shape(5, &[all(Kind::Texts), since(3, BOOL)]);

static DESCRIBE_GROUPS_RESPONSE: Shape = shape(
    5,
    &[
        since(1, I32),
        all(Kind::Structs(&[
            all(I16),
            since(6, Kind::Text),
            all(Kind::Text),
            all(Kind::Text),
            all(Kind::Text),
            all(Kind::Text),
            all(Kind::Structs(&[
                all(Kind::Text),
                since(4, Kind::Text),
                all(Kind::Text),
                all(Kind::Text),
                all(Kind::Blob),
                all(Kind::Blob),
            ])),
            since(3, I32),
        ])),
    ],
);

static LIST_GROUPS: Shape = shape(3, &[since(4, Kind::Texts), since(5, Kind::Texts)]);

static LIST_GROUPS_RESPONSE: Shape = shape(
    3,
    &[
        since(1, I32),
        all(I16),
        all(Kind::Structs(&[
            all(Kind::Text),
            all(Kind::Text),
            since(4, Kind::Text),
            since(5, Kind::Text),
        ])),
    ],
);

static DELETE_GROUPS: Shape = shape(2, &[all(Kind::Texts)]);

static DELETE_GROUPS_RESPONSE: Shape = shape(
    2,
    &[all(I32), all(Kind::Structs(&[all(Kind::Text), all(I16)]))],
);

/// It never became flexible.
const NEVER: i16 = i16::MAX;

static OFFSET_DELETE: Shape = shape(
    NEVER,
    &[
        all(Kind::Text),
        all(Kind::Structs(&[
            all(Kind::Text),
            all(Kind::Structs(&[all(I32)])),
        ])),
    ],
);

static OFFSET_DELETE_RESPONSE: Shape = shape(
    NEVER,
    &[
        all(I16),
        all(I32),
        all(Kind::Structs(&[
            all(Kind::Text),
            all(Kind::Structs(&[all(I32), all(I16)])),
        ])),
    ],
);

const PARTITIONS_BY_ID: Kind = Kind::Structs(&[all(UUID), all(I32S)]);

static CONSUMER_GROUP_HEARTBEAT: Shape = shape(
    0,
    &[
        all(Kind::Text),
        all(Kind::Text),
        all(I32),
        all(Kind::Text),
        all(Kind::Text),
        all(I32),
        all(Kind::Texts),
        since(1, Kind::Text),
        all(Kind::Text),
        all(PARTITIONS_BY_ID),
    ],
);

static CONSUMER_GROUP_HEARTBEAT_RESPONSE: Shape = shape(
    0,
    &[
        all(I32),
        all(I16),
        all(Kind::Text),
        all(Kind::Text),
        all(I32),
        all(I32),
        all(Kind::Optional(&[all(PARTITIONS_BY_ID)])),
    ],
);

static CONSUMER_GROUP_DESCRIBE: Shape = shape(0, &[all(Kind::Texts), all(BOOL)]);

const DESCRIBED_ASSIGNMENT: &[Field] =
    &[all(Kind::Structs(&[all(UUID), all(Kind::Text), all(I32S)]))];

static CONSUMER_GROUP_DESCRIBE_RESPONSE: Shape = shape(
    0,
    &[
        all(I32),
        all(Kind::Structs(&[
            all(I16),
            all(Kind::Text),
            all(Kind::Text),
            all(Kind::Text),
            all(I32),
            all(I32),
            all(Kind::Text),
            all(Kind::Structs(&[
                all(Kind::Text),
                all(Kind::Text),
                all(Kind::Text),
                all(I32),
                all(Kind::Text),
                all(Kind::Text),
                all(Kind::Texts),
                all(Kind::Text),
                all(Kind::Struct(DESCRIBED_ASSIGNMENT)),
                all(Kind::Struct(DESCRIBED_ASSIGNMENT)),
                since(1, I8),
            ])),
            all(I32),
        ])),
    ],
);
