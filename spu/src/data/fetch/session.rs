//! The session of a follower's SPU: what it copies from this one, without all of it in every request.
//!
//! A request with session epoch 0 names everything that is followed, and begins the session anew. Those
//! after it name only the partitions where the follower is elsewhere than it said last; an answer has
//! only those in which something is new. So what stands still costs nothing, however much of it there is.
//! A session belongs to its connection and ends with it. A partition that was refused is no part of it:
//! the follower rests, and then names everything again.
//!
//! The fields are those of Kafka's incremental fetches (KIP-227). Consumers get no sessions.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use thalweg_types::{SpuId, TopicName};
use thalweg_wire::messages::fetch_request::FetchPartition;
use thalweg_wire::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use thalweg_wire::messages::{self, FetchRequest, FetchResponse};
use thalweg_wire::{KafkaError, RequestHeader, StrBytes};

use super::{Found, Limits, Records, encode, follower, leader, refused};
use crate::data::answer::Answer;
use crate::data::connection::{ConnectionError, Shared};
use crate::data::refusal::Refusal;
use crate::data::router::Router;
use crate::replica::{News, Replica};

/// What the SPU of a follower copies from this one.
#[derive(Debug)]
pub(in crate::data) struct FollowerSession {
    id: i32,
    /// Of the next request.
    epoch: i32,
    spu: SpuId,
    /// By their numbers.
    partitions: Vec<Partition>,
    numbers: HashMap<(TopicName, i32), usize>,
    news: Arc<News>,
    /// The numbers of those to look at, each of them once.
    to_look_at: VecDeque<usize>,
}

#[derive(Debug)]
struct Partition {
    topic: TopicName,
    /// As the follower said last.
    asked: FetchPartition,
    /// Whose news is heard.
    replica: Weak<Replica>,
    is_to_look_at: bool,
    /// The high watermark and the log's start, as the follower was told last.
    told: Option<(i64, i64)>,
}

/// What an answer has so far.
#[derive(Default)]
struct Gathered {
    found: BTreeMap<usize, Found>,
    bytes: usize,
}

pub(super) async fn answer(
    router: &Router,
    header: &RequestHeader,
    request: FetchRequest,
) -> Result<Answer, ConnectionError> {
    let session = router.take_session();
    let mut session = match FollowerSession::of(session, &request) {
        Ok(session) => session,
        Err(error) => {
            let refused = FetchResponse::default().with_error_code(error.code());
            return encode(header, &refused, Vec::new(), None);
        }
    };
    let shared = &router.shared;
    let limits = Limits::of(shared, &request);
    let mut gathered = Gathered::default();
    session.hear(request);
    loop {
        session.look(shared, &mut gathered, limits.bytes_max).await;
        let left = limits
            .deadline
            .saturating_sub(shared.context.clock.monotonic());
        let is_enough = gathered.bytes >= limits.bytes_min
            || gathered.found.values().any(|found| found.is_final)
            || left.is_zero()
            || shared.shutdown.is_cancelled();
        if is_enough {
            break;
        }
        // All of these are cancel-safe: they only watch.
        tokio::select! {
            () = session.news.more() => {}
            () = tokio::time::sleep(left) => {}
            () = shared.shutdown.cancelled() => {}
        }
    }
    let (response, records) = session.assemble(gathered);
    router.keep_session(session);
    encode(header, &response, records, None)
}

impl FollowerSession {
    /// The session that a request belongs to: a new one, or that of the connection.
    fn of(known: Option<Self>, request: &FetchRequest) -> Result<Self, KafkaError> {
        if request.session_epoch == 0 {
            return Ok(Self {
                id: known.map_or(0, |known| known.id).wrapping_add(1).max(1),
                epoch: 1,
                spu: SpuId(request.replica_id.0),
                partitions: Vec::new(),
                numbers: HashMap::new(),
                news: Arc::default(),
                to_look_at: VecDeque::new(),
            });
        }
        let mut session = known
            .filter(|known| known.id == request.session_id && known.spu.0 == request.replica_id.0)
            .ok_or(KafkaError::FetchSessionIdNotFound)?;
        if session.epoch != request.session_epoch {
            return Err(KafkaError::InvalidFetchSessionEpoch);
        }
        session.epoch = session.epoch.wrapping_add(1).max(1);
        Ok(session)
    }

    /// Takes over where the follower says that it is.
    fn hear(&mut self, request: FetchRequest) {
        for topic in request.topics {
            // A name that is none names no partition that anybody could follow.
            let Ok(name) = TopicName::new(&topic.topic) else {
                continue;
            };
            for mut asked in topic.partitions {
                // The request's frame must not stay for as long as the session does.
                for value in asked.unknown_tagged_fields.values_mut() {
                    *value = Bytes::copy_from_slice(value);
                }
                let next = self.partitions.len();
                let key = (name.clone(), asked.partition);
                let number = *self.numbers.entry(key).or_insert(next);
                if number == next {
                    self.partitions.push(Partition {
                        topic: name.clone(),
                        asked,
                        replica: Weak::new(),
                        is_to_look_at: false,
                        told: None,
                    });
                } else {
                    self.partitions[number].asked = asked;
                }
                self.look_at(number);
            }
        }
    }

    fn look_at(&mut self, number: usize) {
        if !std::mem::replace(&mut self.partitions[number].is_to_look_at, true) {
            self.to_look_at.push_back(number);
        }
    }

    /// Looks at the partitions that were named, and those in which something is new.
    async fn look(&mut self, shared: &Shared, gathered: &mut Gathered, bytes_max: usize) {
        for number in self.news.take() {
            self.look_at(number);
        }
        for _ in 0..self.to_look_at.len() {
            let Some(number) = self.to_look_at.pop_front() else {
                return;
            };
            let room = bytes_max.saturating_sub(gathered.bytes);
            let partition = &mut self.partitions[number];
            partition.is_to_look_at = false;
            let is_first = gathered.bytes == 0;
            let found = partition.find(shared, self.spu, (&self.news, number), room, is_first);
            let (found, has_more) = found.await.unwrap_or_else(|refusal| {
                let data = partition.data();
                (refused(data, &refusal), false)
            });
            if has_more {
                // Others are first the next time.
                self.look_at(number);
            }
            gathered.bytes += found.records.len();
            gathered.found.insert(number, found);
        }
    }

    /// What is new, as an answer.
    fn assemble(&mut self, gathered: Gathered) -> (FetchResponse, Vec<Records>) {
        let mut records = Vec::new();
        let mut topics: Vec<(TopicName, FetchableTopicResponse)> = Vec::new();
        for (number, found) in gathered.found {
            let partition = &mut self.partitions[number];
            let ends = (found.data.high_watermark, found.data.log_start_offset);
            let is_news = partition.told.replace(ends) != Some(ends);
            if !is_news && !found.is_final && found.records.len() == 0 {
                continue;
            }
            records.push(found.records);
            match topics.last_mut() {
                Some((name, topic)) if *name == partition.topic => {
                    topic.partitions.push(found.data);
                }
                _ => {
                    let name = StrBytes::from_string(partition.topic.to_string());
                    let topic = FetchableTopicResponse::default()
                        .with_topic(messages::TopicName(name))
                        .with_partitions(vec![found.data]);
                    topics.push((partition.topic.clone(), topic));
                }
            }
        }
        let response = FetchResponse::default()
            .with_session_id(self.id)
            .with_responses(topics.into_iter().map(|(_, topic)| topic).collect());
        (response, records)
    }
}

impl Partition {
    fn data(&self) -> PartitionData {
        PartitionData::default().with_partition_index(self.asked.partition)
    }

    /// What there is for the follower, and whether there is more for which there was no room.
    async fn find(
        &mut self,
        shared: &Shared,
        spu: SpuId,
        (news, number): (&Arc<News>, usize),
        room: usize,
        is_first: bool,
    ) -> Result<(Found, bool), Refusal> {
        let replica = leader(shared, &self.topic, &self.asked)?;
        if self.replica.as_ptr() != Arc::as_ptr(&replica) {
            // Before its log is looked at, so that nothing is missed in between.
            replica.tell_news(news, number);
            self.replica = Arc::downgrade(&replica);
        }
        let read = follower::read(replica, spu, &self.asked, room, is_first).await?;
        let is_behind = read.is_behind();
        let found = read.into_found(self.data());
        let has_more = is_behind && !found.is_final && found.records.len() == 0;
        Ok((found, has_more))
    }
}
