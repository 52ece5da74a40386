//! What becomes of a leader's answer. Blocks on the disk.

use std::time::Duration;

use bytes::Bytes;
use thalweg_record::batches;
use thalweg_types::{LeaderEpoch, Offset};
use thalweg_wire::messages::fetch_response::PartitionData;
use thalweg_wire::{KafkaError, kafka_error};

use super::request::Asked;
use crate::replica::{FollowError, Follower, Standing};

/// How long a partition rests whose leader is not, or not yet, where this SPU believes: the SC is
/// about to say.
const ELSEWHERE_PAUSE: Duration = Duration::from_millis(50);
/// How long a partition rests after an error that does not pass so soon.
const ERROR_PAUSE: Duration = Duration::from_secs(1);

/// What became of one partition's part of an answer.
#[derive(Debug)]
pub(super) enum Taken {
    /// It is as the leader says.
    Well,
    /// To be asked for again after a pause, and why.
    Later(Duration, String),
}

/// Takes one partition's part of an answer to a request that asked for it.
pub(super) fn take(asked: &Asked, data: PartitionData, now_ms: i64) -> Taken {
    let (follower, standing) = (&*asked.follower, asked.standing);
    match kafka_error(data.error_code) {
        None => {}
        Some(KafkaError::OffsetOutOfRange) => {
            return restart(follower, standing, Offset(data.log_start_offset));
        }
        Some(error) => {
            let pause = match error {
                KafkaError::NotLeaderOrFollower
                | KafkaError::FencedLeaderEpoch
                | KafkaError::UnknownLeaderEpoch
                | KafkaError::UnknownTopicOrPartition
                | KafkaError::LeaderNotAvailable => ELSEWHERE_PAUSE,
                _ => ERROR_PAUSE,
            };
            return Taken::Later(pause, error.to_string());
        }
    }
    let diverging = &data.diverging_epoch;
    let taken = if diverging.end_offset >= 0 || diverging.epoch >= 0 {
        let parted = (LeaderEpoch(diverging.epoch), Offset(diverging.end_offset));
        follower.truncate(standing.log_end, parted.0, parted.1)
    } else {
        append(asked, data, now_ms)
    };
    taken.map_or_else(failed, |()| Taken::Well)
}

fn append(asked: &Asked, data: PartitionData, now_ms: i64) -> Result<(), FollowError> {
    let follower = &asked.follower;
    let is_what_was_asked = |records: &Bytes| {
        let first = batches(records).next();
        let begins_at = first.and_then(|batch| Some(batch.ok()?.header().base_offset));
        // A leader of a version that knows of no reading ahead sends what is written by now.
        asked.from == asked.standing.log_end || begins_at == Some(asked.from)
    };
    let records = data.records.filter(|records| !records.is_empty());
    if let Some(records) = records.filter(is_what_was_asked) {
        follower.append(asked.from, records, now_ms)?;
    }
    follower.adopt(Offset(data.high_watermark), Offset(data.log_start_offset))
}

/// The leader does not hold what comes after this copy.
fn restart(follower: &Follower, standing: Standing, leader_start: Offset) -> Taken {
    if leader_start < Offset::ZERO || leader_start == standing.log_end {
        return Taken::Later(ERROR_PAUSE, "the leader's log is elsewhere".to_owned());
    }
    follower
        .restart_at(standing.log_end, leader_start)
        .map_or_else(failed, |()| Taken::Well)
}

fn failed(error: FollowError) -> Taken {
    Taken::Later(ERROR_PAUSE, error.to_string())
}
