//! Fetch: a long poll over partitions, plain or through SmartModules.
//!
//! A fetch goes in rounds: read what there is from every partition, answer if that is enough, else
//! wait until one of them has more. Partitions that name a stream take part with what their chain
//! has put out so far; all rounds together give one answer.
//!
//! Followers have sessions ([`session`]). Those of clients are refused by answering session 0, which every
//! client takes as "none".

mod chained;
mod follower;
mod plain;
mod session;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::select_all;
use thalweg_storage::LogSlice;
use thalweg_types::{Offset, PartitionIndex, SpuId, TopicName};
use thalweg_wire::messages::fetch_request::FetchPartition;
use thalweg_wire::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use thalweg_wire::messages::{self, FetchRequest, FetchResponse};
use thalweg_wire::{FetchPart, KafkaError, RequestHeader, encode_fetch_response};

use super::answer::{Answer, Piece};
use super::connection::{ConnectionError, Shared};
use super::list_offsets::known_epoch;
use super::memory::Reservation;
use super::refusal::Refusal;
use super::router::Router;
use crate::replica::Replica;
use chained::ChainedFetch;
pub(super) use session::FollowerSession;

/// The longest that an answer is waited for, whatever the client asks.
const WAIT_MAX: Duration = Duration::from_secs(300);

/// How much of the memory for SmartModules a fetch takes once half of it is in use: a hundred
/// modules that loop until their deadlines must leave some for everybody else.
const SCARCE_BYTES: usize = 256 << 10;

/// Transactions are out of sight until they are committed.
const READ_COMMITTED: i8 = 1;

/// The records of one partition's answer.
#[derive(Debug)]
enum Records {
    None,
    InFile(LogSlice),
    /// One after the other.
    InMemory(Vec<Bytes>),
}

impl Records {
    fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::InFile(slice) => slice.len_bytes as usize,
            Self::InMemory(pieces) => pieces.iter().map(Bytes::len).sum(),
        }
    }
}

/// One partition of the request, on its way through the rounds.
struct Asked {
    topic: Result<TopicName, Refusal>,
    partition: FetchPartition,
    /// What its stream has put out, when it names one.
    chained: Option<ChainedFetch>,
}

/// What a round found for one partition.
struct Found {
    data: PartitionData,
    records: Records,
    /// There is no use in waiting for more.
    is_final: bool,
    /// More can be read at once, without waiting.
    has_more: bool,
    /// What to wait for.
    wait: Option<Wait>,
}

/// What a partition that is asked for waits for.
enum Wait {
    /// That more than this is committed.
    Committed(Arc<Replica>, Offset),
    /// That the log reaches beyond this.
    Appended(Arc<Replica>, Offset),
}

impl Wait {
    /// Cancel-safe.
    async fn until_there(&self) {
        match self {
            Self::Committed(replica, beyond) => replica.wait_for_data(*beyond).await,
            Self::Appended(replica, beyond) => replica.wait_for_append(*beyond).await,
        }
    }
}

/// One round over all partitions.
struct Round {
    found: Vec<Found>,
    bytes: usize,
}

pub(super) async fn answer(
    router: &Router,
    header: &RequestHeader,
    request: FetchRequest,
) -> Result<Answer, ConnectionError> {
    if request.replica_id.0 >= 0 && request.session_epoch >= 0 {
        return session::answer(router, header, request).await;
    }
    if request.session_id != 0 || request.session_epoch > 0 {
        let refused =
            FetchResponse::default().with_error_code(KafkaError::FetchSessionIdNotFound.code());
        return encode(header, &refused, Vec::new(), None);
    }
    let mut fetch = Fetch::new(router, &request);
    let round = fetch.run().await;
    let (response, records) = assemble(&request, round);
    encode(header, &response, records, fetch.reservation)
}

/// How much a request asks for, and how long it waits for that.
#[derive(Debug, Clone, Copy)]
struct Limits {
    bytes_min: usize,
    bytes_max: usize,
    /// On the monotonic clock.
    deadline: Duration,
}

impl Limits {
    fn of(shared: &Shared, request: &FetchRequest) -> Self {
        let allowed = usize::try_from(shared.context.options.fetch_bytes_max).unwrap_or(usize::MAX);
        let bytes_max = size(request.max_bytes).min(allowed);
        let wait = Duration::from_millis(request.max_wait_ms.max(0).unsigned_abs().into());
        Self {
            bytes_min: size(request.min_bytes).min(bytes_max),
            bytes_max,
            deadline: shared.context.clock.monotonic() + wait.min(WAIT_MAX),
        }
    }
}

/// A size that a client sent; a negative one is none.
fn size(bytes: i32) -> usize {
    usize::try_from(bytes).unwrap_or(0)
}

struct Fetch<'a> {
    router: &'a Router,
    asked: Vec<Asked>,
    /// Which follower asks, if one does.
    follower: Option<SpuId>,
    read_committed: bool,
    limits: Limits,
    /// For what the chains put out. Not held while waiting with nothing: quiet streams would take
    /// the memory that others need.
    reservation: Option<Reservation>,
    /// How much was reserved.
    reserved_bytes: usize,
}

impl<'a> Fetch<'a> {
    fn new(router: &'a Router, request: &FetchRequest) -> Self {
        let asked = request
            .topics
            .iter()
            .flat_map(|topic| {
                let name = TopicName::new(&topic.topic).map_err(Refusal::from);
                topic.partitions.iter().map(move |partition| Asked {
                    topic: name.clone(),
                    chained: ChainedFetch::of(partition),
                    partition: partition.clone(),
                })
            })
            .collect();
        Self {
            router,
            asked,
            follower: (request.replica_id.0 >= 0).then_some(SpuId(request.replica_id.0)),
            read_committed: request.isolation_level == READ_COMMITTED,
            limits: Limits::of(&router.shared, request),
            reservation: None,
            reserved_bytes: 0,
        }
    }

    async fn run(&mut self) -> Round {
        loop {
            self.reserve().await;
            let round = self.round().await;
            let is_enough = round.bytes >= self.limits.bytes_min
                || round.bytes >= self.limits.bytes_max
                || round.found.iter().any(|found| found.is_final)
                || self.remaining_wait().is_zero()
                || self.router.shared.shutdown.is_cancelled();
            if is_enough {
                return round;
            }
            if round.found.iter().any(|found| found.has_more) {
                continue;
            }
            if round.bytes == 0 {
                self.reservation = None;
            }
            self.wait(&round).await;
        }
    }

    /// Waits for memory, as what goes through SmartModules is put together there.
    async fn reserve(&mut self) {
        if self.reservation.is_some() {
            return;
        }
        let bytes: usize = self
            .asked
            .iter()
            .filter(|asked| asked.chained.is_some())
            .map(|asked| size(asked.partition.partition_max_bytes))
            .sum();
        if bytes == 0 {
            return;
        }
        let streamed = &self.router.shared.streamed;
        let wanted = bytes.min(self.limits.bytes_max);
        self.reserved_bytes = wanted;
        self.reservation = streamed.reserve_of_plenty(wanted);
        if self.reservation.is_none() {
            self.reserved_bytes = wanted.min(SCARCE_BYTES);
            self.reservation = Some(streamed.reserve(self.reserved_bytes).await);
        }
    }

    fn remaining_wait(&self) -> Duration {
        let now = self.router.shared.context.clock.monotonic();
        self.limits.deadline.saturating_sub(now)
    }

    /// Waits until one partition has more, or until time is up.
    async fn wait(&self, round: &Round) {
        let waits: Vec<_> = round
            .found
            .iter()
            .filter_map(|found| found.wait.as_ref())
            .map(|wait| wait.until_there().boxed())
            .collect();
        let more = async {
            if waits.is_empty() {
                std::future::pending().await
            } else {
                select_all(waits).await
            }
        };
        // All of these are cancel-safe: they only watch.
        tokio::select! {
            _ = more => {}
            () = tokio::time::sleep(self.remaining_wait()) => {}
            () = self.router.shared.shutdown.cancelled() => {}
        }
    }

    async fn round(&mut self) -> Round {
        self.advance_chains().await;
        let mut round = Round {
            found: Vec::with_capacity(self.asked.len()),
            bytes: 0,
        };
        for asked in &self.asked {
            let room = self.limits.bytes_max.saturating_sub(round.bytes);
            let found = self.find(asked, room, round.bytes == 0).await;
            round.bytes += found.records.len();
            round.found.push(found);
        }
        round
    }

    /// Gives every chain some more input, at the same time.
    async fn advance_chains(&mut self) {
        let chains = self
            .asked
            .iter()
            .filter(|asked| asked.chained.is_some())
            .count();
        if chains == 0 {
            return;
        }
        let taken: usize = self
            .asked
            .iter()
            .filter_map(|asked| asked.chained.as_ref())
            .map(ChainedFetch::output_bytes)
            .sum();
        let share = self.reserved_bytes.saturating_sub(taken) / chains;
        let router = self.router;
        let deadline = self.limits.deadline;
        let advances = self.asked.iter_mut().filter_map(|asked| {
            let chained = asked.chained.as_mut()?;
            let topic = asked.topic.as_ref().ok()?;
            Some(chained.advance(router, topic, &asked.partition, share, deadline))
        });
        futures::future::join_all(advances).await;
    }

    async fn find(&self, asked: &Asked, room: usize, is_first: bool) -> Found {
        let data = PartitionData::default()
            .with_partition_index(asked.partition.partition)
            .with_aborted_transactions(self.read_committed.then(Vec::new));
        let found = match (&asked.topic, &asked.chained) {
            (Err(refusal), _) => Err(refusal.clone()),
            (Ok(topic), _) if let Some(spu) = self.follower => {
                match leader(&self.router.shared, topic, &asked.partition) {
                    Ok(replica) => follower::read(replica, spu, &asked.partition, room, is_first)
                        .await
                        .map(|read| read.into_found(data.clone())),
                    Err(refusal) => Err(refusal),
                }
            }
            (Ok(topic), None) => {
                plain::read(&self.router.shared, topic, &asked.partition, room, is_first)
                    .await
                    .map(|read| read.into_found(data.clone()))
            }
            (Ok(topic), Some(chained)) => self.chained(topic, asked, chained, data.clone()),
        };
        found.unwrap_or_else(|refusal| refused(data, &refusal))
    }

    fn chained(
        &self,
        topic: &TopicName,
        asked: &Asked,
        chained: &ChainedFetch,
        data: PartitionData,
    ) -> Result<Found, Refusal> {
        let replica = leader(&self.router.shared, topic, &asked.partition)?;
        Ok(chained.found(replica, data))
    }
}

/// What is answered of a partition that is refused.
fn refused(data: PartitionData, refusal: &Refusal) -> Found {
    Found {
        data: data.with_error_code(refusal.code()).with_high_watermark(-1),
        records: Records::None,
        is_final: true,
        has_more: false,
        wait: None,
    }
}

/// The leader of a partition that is asked for.
fn leader(
    shared: &Shared,
    topic: &TopicName,
    asked: &FetchPartition,
) -> Result<Arc<Replica>, Refusal> {
    let epoch = known_epoch(asked.current_leader_epoch);
    let leader = shared
        .context
        .replicas
        .leader(topic, PartitionIndex(asked.partition), epoch)?;
    Ok(leader)
}

/// Says how far the partition's log goes.
fn with_ends(data: PartitionData, replica: &Replica, high_watermark: Offset) -> PartitionData {
    data.with_high_watermark(high_watermark.0)
        // There are no transactions: everything committed is stable.
        .with_last_stable_offset(high_watermark.0)
        .with_log_start_offset(replica.log().log_start().0)
}

/// Puts what was found under the topics of the request again.
fn assemble(request: &FetchRequest, round: Round) -> (FetchResponse, Vec<Records>) {
    let mut records = Vec::with_capacity(round.found.len());
    let mut found = round.found.into_iter();
    let responses = request
        .topics
        .iter()
        .map(|topic| {
            let partitions = found
                .by_ref()
                .take(topic.partitions.len())
                .map(|found| {
                    records.push(found.records);
                    found.data
                })
                .collect();
            FetchableTopicResponse::default()
                .with_topic(messages::TopicName(topic.topic.0.clone()))
                .with_partitions(partitions)
        })
        .collect();
    (FetchResponse::default().with_responses(responses), records)
}

fn encode(
    header: &RequestHeader,
    response: &FetchResponse,
    records: Vec<Records>,
    reservation: Option<Reservation>,
) -> Result<Answer, ConnectionError> {
    let sizes: Vec<_> = records.iter().map(Records::len).collect();
    let parts = encode_fetch_response(response, &sizes, header.api_version, header.correlation_id)
        .map_err(|error| ConnectionError::Refused {
            reason: error.to_string(),
        })?;
    let mut records: Vec<_> = records.into_iter().map(Some).collect();
    let pieces = parts
        .into_iter()
        .flat_map(|part| match part {
            FetchPart::Fields(fields) => vec![Piece::Bytes(fields)],
            FetchPart::Records(index) => match records.get_mut(index).and_then(Option::take) {
                Some(Records::InFile(slice)) => vec![Piece::File(slice)],
                Some(Records::InMemory(pieces)) => pieces.into_iter().map(Piece::Bytes).collect(),
                Some(Records::None) | None => Vec::new(),
            },
        })
        .collect();
    Ok(Answer::Frame(pieces, Vec::new()).holding(reservation))
}
