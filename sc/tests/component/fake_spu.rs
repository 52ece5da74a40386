//! An SPU's side of the control stream, played by a test.

use std::collections::BTreeMap;

use thalweg_proto::v1::{
    Heartbeat, IsrRefusal, Refill, Register, Registered, ReplicaReport, ReplicaReports,
    ReplicaState, ScMessage, SpuMessage, sc_message, spu_message,
};
use thalweg_types::resource::{Partition, Resource, ResourceKey, Spu, Topic};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use uuid::Uuid;

use crate::test_sc::{TestSc, within};

pub(crate) struct FakeSpu {
    /// `None` once it said goodbye.
    to_sc: Option<mpsc::Sender<SpuMessage>>,
    from_sc: Streaming<ScMessage>,
    pub(crate) registered: Registered,
    pub(crate) known: BTreeMap<ResourceKey, Resource>,
    /// What the SC refused, and the copies that it lets be made anew, in order.
    pub(crate) refusals: Vec<IsrRefusal>,
    pub(crate) refills: Vec<Refill>,
}

/// What SPU `id` says of itself, in its first life and with a data directory of its own.
pub(crate) fn registration(id: i32) -> Register {
    Register {
        spu_id: id,
        incarnation: 1,
        cluster_id: String::new(),
        directory_id: Uuid::from_u128(1000 + u128::from(id.unsigned_abs())).to_string(),
        data_address: format!("127.0.0.1:{}", 9092 + id),
        rack: String::new(),
        software_version: "0.1.0".to_owned(),
        ended_well: true,
    }
}

impl FakeSpu {
    /// Registers, and waits for the snapshot.
    pub(crate) async fn register(sc: &TestSc, register: Register) -> Result<Self, Status> {
        Self::begin(sc, spu_message::Message::Register(register)).await
    }

    /// Registers SPU `id` in its first life.
    pub(crate) async fn new(sc: &TestSc, id: i32) -> Self {
        Self::register(sc, registration(id)).await.unwrap()
    }

    /// Opens a stream whose first message is `first`.
    pub(crate) async fn begin(sc: &TestSc, first: spu_message::Message) -> Result<Self, Status> {
        let (to_sc, messages) = mpsc::channel(16);
        let outbound = ReceiverStream::new(messages);
        let mut from_sc = sc.control().connect(outbound).await?.into_inner();
        to_sc.send(message(first)).await.unwrap();
        let registered = match next(&mut from_sc).await? {
            sc_message::Message::Registered(registered) => registered,
            other => panic!("the first message is {other:?}"),
        };
        let snapshot = match next(&mut from_sc).await? {
            sc_message::Message::Snapshot(snapshot) => snapshot,
            other => panic!("the second message is {other:?}"),
        };
        assert_eq!(snapshot.controller_epoch, registered.controller_epoch);
        let topics = snapshot
            .topics
            .into_iter()
            .map(|row| Topic::try_from(row).unwrap().into());
        let partitions = snapshot
            .partitions
            .into_iter()
            .map(|row| Partition::try_from(row).unwrap().into());
        let spus = snapshot
            .spus
            .into_iter()
            .map(|row| Spu::try_from(row).unwrap().into());
        let known = topics.chain(partitions).chain(spus);
        Ok(Self {
            to_sc: Some(to_sc),
            from_sc,
            registered,
            known: known.map(|row: Resource| (row.key(), row)).collect(),
            refusals: Vec::new(),
            refills: Vec::new(),
        })
    }

    pub(crate) async fn heartbeat(&self) {
        self.send(spu_message::Message::Heartbeat(Heartbeat {}))
            .await;
    }

    pub(crate) async fn report(&self, partition: &Partition, state: ReplicaState) {
        self.report_copy(partition, 1, state).await;
    }

    pub(crate) async fn report_copy(&self, partition: &Partition, copy: u64, state: ReplicaState) {
        let report = ReplicaReport {
            topic_id: partition.id.topic.to_string(),
            partition: partition.id.partition.0,
            state: state.into(),
            reason: "the test says so".to_owned(),
            leader_epoch: partition.status.leader_epoch.0,
            copy,
        };
        let reports = vec![report];
        self.send(spu_message::Message::Replicas(ReplicaReports { reports }))
            .await;
    }

    pub(crate) async fn send(&self, first: spu_message::Message) {
        self.to_sc
            .as_ref()
            .unwrap()
            .send(message(first))
            .await
            .unwrap();
    }

    /// Says goodbye, and waits until the SC has heard it.
    pub(crate) async fn leave(mut self) {
        self.to_sc = None;
        while let Ok(Some(_)) = within("the stream ends", self.from_sc.message()).await {}
    }

    /// Stops hearing the SC without a goodbye, which the SC sees as a broken stream. What it
    /// returns has to live for as long as the SPU should seem to.
    pub(crate) fn break_off(self) -> impl Sized {
        self.to_sc
    }

    /// Hears the SC until what is known is as `wanted`.
    pub(crate) async fn until(&mut self, wanted: impl Fn(&Self) -> bool) {
        while !wanted(self) {
            let delta = match next(&mut self.from_sc).await.unwrap() {
                sc_message::Message::Delta(delta) => delta,
                sc_message::Message::IsrRefusals(told) => {
                    self.refusals.extend(told.refusals);
                    continue;
                }
                sc_message::Message::Refills(told) => {
                    self.refills.extend(told.refills);
                    continue;
                }
                other => panic!("{other:?} after the snapshot"),
            };
            assert_eq!(delta.controller_epoch, self.registered.controller_epoch);
            for row in delta.upserted {
                let row = Resource::try_from(row).unwrap();
                self.known.insert(row.key(), row);
            }
            for key in delta.deleted {
                let key = ResourceKey::try_from(key).unwrap();
                assert!(self.known.remove(&key).is_some(), "{key} was never told");
            }
        }
    }

    /// Hears messages until the SC ends the stream, and says why.
    pub(crate) async fn end(&mut self) -> Status {
        loop {
            match within("the stream ends", self.from_sc.message()).await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the stream ended without a reason"),
                Err(status) => return status,
            }
        }
    }

    pub(crate) fn partitions(&self) -> Vec<&Partition> {
        let rows = self.known.values();
        rows.filter_map(|row| match row {
            Resource::Partition(partition) => Some(partition),
            _ => None,
        })
        .collect()
    }

    pub(crate) fn topic(&self, name: &str) -> Option<&Topic> {
        match self.known.get(&ResourceKey::Topic(name.parse().unwrap())) {
            Some(Resource::Topic(topic)) => Some(topic),
            _ => None,
        }
    }

    /// Whether it knows that SPU `id` is online.
    pub(crate) fn sees_online(&self, id: i32) -> bool {
        match self.known.get(&ResourceKey::Spu(thalweg_types::SpuId(id))) {
            Some(Resource::Spu(spu)) => spu.is_online(),
            _ => false,
        }
    }
}

fn message(message: spu_message::Message) -> SpuMessage {
    SpuMessage {
        message: Some(message),
    }
}

async fn next(from_sc: &mut Streaming<ScMessage>) -> Result<sc_message::Message, Status> {
    let received = within("the SC says something", from_sc.message()).await?;
    let ScMessage { message } = received.expect("the SC does not end the stream");
    Ok(message.expect("the SC sends no empty messages"))
}
