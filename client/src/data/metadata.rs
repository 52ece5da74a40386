//! What the client knows of the cluster: the SPUs' addresses, and who leads which partition.
//!
//! Asked of any SPU (they all know), kept until an answer proves it wrong. Where no known SPU can
//! be reached, the SC is asked for the addresses of those that are up.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use thalweg_types::{LeaderEpoch, PartitionIndex, SpuId, TopicName};
use thalweg_wire::messages::metadata_request::MetadataRequestTopic;
use thalweg_wire::messages::{MetadataRequest, MetadataResponse};
use thalweg_wire::{KafkaError, StrBytes, kafka_error};
use tracing::debug;

use super::{Connections, Liveness, RequestError, kafka_name};
use crate::admin::ScClient;

/// How long the next SPU waits for its turn (RFC 8305, section 5, "Connection Attempt Delay").
const NEXT_ASKED_AFTER: Duration = Duration::from_millis(250);

/// The cache, and how it is filled.
#[derive(Debug)]
pub(crate) struct Metadata {
    connections: Arc<Connections>,
    sc: ScClient,
    request_timeout: Duration,
    liveness: Arc<Liveness>,
    known: Mutex<Known>,
    /// Held by whoever asks, so that many tasks wait for one answer.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    /// Where to begin, in the order of trying.
    bootstrap: Vec<String>,
    spus: BTreeMap<SpuId, String>,
    topics: HashMap<TopicName, Arc<TopicMetadata>>,
    answers: u64,
}

/// What is known of one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopicMetadata {
    /// Its partitions, in order, without gaps.
    pub(crate) partitions: Vec<Option<Leader>>,
    /// Which answer it came with: grows with each.
    pub(crate) answer: u64,
}

/// Who leads a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leader {
    pub(crate) spu: SpuId,
    pub(crate) address: String,
    pub(crate) epoch: LeaderEpoch,
}

impl Metadata {
    pub(crate) fn new(
        connections: Arc<Connections>,
        sc: ScClient,
        bootstrap: Vec<String>,
        request_timeout: Duration,
        liveness: Arc<Liveness>,
    ) -> Self {
        Self {
            connections,
            sc,
            request_timeout,
            liveness,
            known: Mutex::new(Known {
                bootstrap,
                ..Known::default()
            }),
            asking: tokio::sync::Mutex::default(),
        }
    }

    /// What is known of `topic`, asked for where nothing is; `None` when there is no such topic.
    pub(crate) async fn topic(
        &self,
        topic: &TopicName,
    ) -> Result<Option<Arc<TopicMetadata>>, RequestError> {
        let known = self.lock().topics.get(topic).cloned();
        match known {
            Some(known) => Ok(Some(known)),
            None => self.refresh(topic, 0).await,
        }
    }

    /// Asks for `topic` anew, unless somebody has since the answer numbered `stale`.
    pub(crate) async fn refresh(
        &self,
        topic: &TopicName,
        stale: u64,
    ) -> Result<Option<Arc<TopicMetadata>>, RequestError> {
        let _asking = self.asking.lock().await;
        let known = self.lock().topics.get(topic).cloned();
        if let Some(known) = known.filter(|known| known.answer > stale) {
            return Ok(Some(known));
        }
        let answer = self.ask(Some(topic)).await?;
        self.note(topic, &answer)
    }

    /// The address of some SPU that answers.
    pub(crate) async fn any_spu(&self) -> Result<String, RequestError> {
        self.ask(None).await?;
        let known = self.lock();
        let first = known.bootstrap.first().cloned();
        first.ok_or(RequestError::NoSpuReachable {
            last_failure: "no SPU is known".to_owned(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known
            .lock()
            .expect("nothing panics while it holds this lock")
    }

    async fn ask(&self, topic: Option<&TopicName>) -> Result<MetadataResponse, RequestError> {
        let candidates = self.lock().candidates();
        let last_failure = match self.first_answer(candidates, topic).await {
            Ok(answer) => return Ok(answer),
            Err(last_failure) => last_failure,
        };
        debug!(%last_failure, "no known SPU answers, asking the SC");
        let last_failure = match self.sc.online_spu_addresses().await {
            Ok(addresses) => match self.first_answer(addresses, topic).await {
                Ok(answer) => return Ok(answer),
                Err(last_failure) => last_failure,
            },
            Err(error) => format!("{last_failure}; {error}"),
        };
        Err(RequestError::NoSpuReachable { last_failure })
    }

    /// The first answer of one of `addresses`, in their order; else why the last one did not answer. Where one is silent
    /// for [`NEXT_ASKED_AFTER`], the next is asked as well: nobody refuses a connection to a host that is gone.
    async fn first_answer(
        &self,
        addresses: Vec<String>,
        topic: Option<&TopicName>,
    ) -> Result<MetadataResponse, String> {
        let mut addresses = addresses.into_iter();
        let mut asked = FuturesUnordered::new();
        let mut last_failure = "no SPU is known".to_owned();
        loop {
            match addresses.next() {
                Some(address) => asked.push(self.ask_spu(address, topic)),
                None if asked.is_empty() => return Err(last_failure),
                None => {}
            }
            let patience = match addresses.len() {
                0 => Duration::MAX,
                _ => NEXT_ASKED_AFTER,
            };
            match tokio::time::timeout(patience, asked.next()).await {
                Ok(Some(Ok(answer))) => return Ok(answer),
                Ok(Some(Err(error))) => last_failure = error.to_string(),
                Ok(None) | Err(_) => {}
            }
        }
    }

    async fn ask_spu(
        &self,
        address: String,
        topic: Option<&TopicName>,
    ) -> Result<MetadataResponse, RequestError> {
        let name = topic.map(|topic| StrBytes::from_string(topic.to_string()).into());
        let topics = name.map(|name| MetadataRequestTopic::default().with_name(Some(name)));
        let request = MetadataRequest::default()
            .with_topics(Some(topics.into_iter().collect()))
            .with_allow_auto_topic_creation(false);
        let connection = self.connections.get(&address).await?;
        let answer = connection.call(&request, self.request_timeout).await?;
        let mut known = self.lock();
        known.answers += 1;
        known.spus = answer
            .brokers
            .iter()
            .map(|spu| (SpuId(spu.node_id.0), join(&spu.host, spu.port)))
            .collect();
        self.liveness.know(known.spus.values());
        // What answered is asked first the next time.
        known.bootstrap.retain(|other| *other != address);
        known.bootstrap.insert(0, address);
        Ok(answer)
    }

    fn note(
        &self,
        topic: &TopicName,
        answer: &MetadataResponse,
    ) -> Result<Option<Arc<TopicMetadata>>, RequestError> {
        let mut known = self.lock();
        let found = answer.topics.iter().find(|found| {
            found
                .name
                .as_ref()
                .is_some_and(|name| name.as_str() == topic.as_str())
        });
        let error = found.and_then(|found| kafka_error(found.error_code));
        match (found, error) {
            (Some(found), None) => {
                let count = found.partitions.len();
                let mut partitions = vec![None; count];
                for partition in &found.partitions {
                    let leader = SpuId(partition.leader_id.0);
                    let slot = usize::try_from(partition.partition_index).ok();
                    let slot = slot.and_then(|index| partitions.get_mut(index));
                    if let (Some(slot), Some(address)) = (slot, known.spus.get(&leader)) {
                        *slot = Some(Leader {
                            spu: leader,
                            address: address.clone(),
                            epoch: LeaderEpoch(partition.leader_epoch),
                        });
                    }
                }
                let known_topic = Arc::new(TopicMetadata {
                    partitions,
                    answer: known.answers,
                });
                // The SPU has heard of a new topic, and of its partitions yet to: nothing to keep.
                if count > 0 {
                    known.topics.insert(topic.clone(), Arc::clone(&known_topic));
                }
                Ok(Some(known_topic))
            }
            (None, _) | (_, Some(KafkaError::UnknownTopicOrPartition)) => {
                known.topics.remove(topic);
                Ok(None)
            }
            (Some(found), Some(_)) => Err(RequestError::Refused {
                address: known.bootstrap.first().cloned().unwrap_or_default(),
                request: "Metadata",
                kafka_code: found.error_code,
                name: kafka_name(found.error_code),
            }),
        }
    }
}

impl Known {
    /// What answered last, then every SPU of the last answer, then what the user gave.
    fn candidates(&self) -> Vec<String> {
        let mut candidates: Vec<String> = self.bootstrap.iter().take(1).cloned().collect();
        let rest = self.spus.values().chain(self.bootstrap.iter().skip(1));
        for address in rest {
            if !candidates.contains(address) {
                candidates.push(address.clone());
            }
        }
        candidates
    }
}

impl TopicMetadata {
    /// The leader of a partition; `None` where nobody leads it or there is no such partition.
    pub(crate) fn leader(&self, partition: PartitionIndex) -> Option<&Leader> {
        let index = usize::try_from(partition.0).ok()?;
        self.partitions.get(index)?.as_ref()
    }
}

/// `host:port`, with brackets around an IPv6 address.
pub(super) fn join(host: &str, port: i32) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}
