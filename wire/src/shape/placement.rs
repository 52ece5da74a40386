//! The shapes of the messages about who leads and who holds partitions, from Kafka's message schemas.

use kafka_protocol::messages::ApiKey;

use super::table::{I8, I16, I32, I32S, all, shape, since};
use super::{Kind, Shape};

/// The shape of the requests of an API about leaders and replicas.
pub(super) fn request_shape(api: ApiKey) -> Option<&'static Shape> {
    Some(match api {
        ApiKey::ElectLeaders => &ELECT_LEADERS,
        ApiKey::AlterPartitionReassignments => &ALTER_PARTITION_REASSIGNMENTS,
        ApiKey::ListPartitionReassignments => &LIST_PARTITION_REASSIGNMENTS,
        _ => return None,
    })
}

/// The shape of the responses of an API about leaders and replicas.
pub(super) fn response_shape(api: ApiKey) -> Option<&'static Shape> {
    Some(match api {
        ApiKey::ElectLeaders => &ELECT_LEADERS_RESPONSE,
        ApiKey::AlterPartitionReassignments => &ALTER_PARTITION_REASSIGNMENTS_RESPONSE,
        ApiKey::ListPartitionReassignments => &LIST_PARTITION_REASSIGNMENTS_RESPONSE,
        _ => return None,
    })
}

static ELECT_LEADERS: Shape = shape(
    2,
    &[
        since(1, I8),
        all(Kind::Structs(&[all(Kind::Text), all(I32S)])),
        all(I32),
    ],
);

static ELECT_LEADERS_RESPONSE: Shape = shape(
    2,
    &[
        all(I32),
        since(1, I16),
        all(Kind::Structs(&[
            all(Kind::Text),
            all(Kind::Structs(&[all(I32), all(I16), all(Kind::Text)])),
        ])),
    ],
);

static ALTER_PARTITION_REASSIGNMENTS: Shape = shape(
    0,
    &[
        all(I32),
        all(Kind::Structs(&[
            all(Kind::Text),
            all(Kind::Structs(&[all(I32), all(I32S)])),
        ])),
    ],
);

static ALTER_PARTITION_REASSIGNMENTS_RESPONSE: Shape = shape(
    0,
    &[
        all(I32),
        all(I16),
        all(Kind::Text),
        all(Kind::Structs(&[
            all(Kind::Text),
            all(Kind::Structs(&[all(I32), all(I16), all(Kind::Text)])),
        ])),
    ],
);

static LIST_PARTITION_REASSIGNMENTS: Shape = shape(
    0,
    &[all(I32), all(Kind::Structs(&[all(Kind::Text), all(I32S)]))],
);

static LIST_PARTITION_REASSIGNMENTS_RESPONSE: Shape = shape(
    0,
    &[
        all(I32),
        all(I16),
        all(Kind::Text),
        all(Kind::Structs(&[
            all(Kind::Text),
            all(Kind::Structs(&[all(I32), all(I32S), all(I32S), all(I32S)])),
        ])),
    ],
);
