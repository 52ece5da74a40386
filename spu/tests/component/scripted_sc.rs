//! An SC that knows what the test tells it, and remembers what the SPU told it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use thalweg_proto::v1::control_server::{Control, ControlServer};
use thalweg_proto::v1::sc_message::Message as ToSpu;
use thalweg_proto::v1::spu_message::Message as FromSpu;
use thalweg_proto::{status, v1};
use thalweg_runtime::TaskGroup;
use thalweg_types::{ClusterId, ErrorCode, OFFSETS_TOPIC, PartitionIndex, TopicId, TopicName};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};
use uuid::Uuid;

/// The one SPU that the scripts know.
pub(crate) const SPU: i32 = 0;
/// Who may produce to internal topics.
pub(crate) const INTERNAL_CLIENT_ID: &str = "__sc-of-a-test";
/// Of the topic that keeps consumer groups.
pub(crate) const OFFSETS_PARTITIONS: i32 = 3;
const HEARTBEAT_INTERVAL_MS: u32 = 50;
const WAIT: Duration = Duration::from_secs(20);

/// A running SC.
pub(crate) struct ScriptedSc {
    pub(crate) address: SocketAddr,
    script: Arc<Script>,
    tasks: TaskGroup,
}

/// What it knows; survives a restart of the SC when passed on.
pub(crate) struct Script {
    state: Mutex<State>,
    heard: watch::Sender<u64>,
}

struct State {
    cluster_id: ClusterId,
    controller_epoch: u64,
    topics: BTreeMap<String, v1::Topic>,
    partitions: BTreeMap<(String, i32), v1::Partition>,
    smart_modules: BTreeMap<String, v1::SmartModule>,
    transforms: BTreeMap<String, v1::Transform>,
    /// The last word of each runner, by the input's partition.
    runners: BTreeMap<i32, v1::TransformReport>,
    spus: BTreeMap<i32, v1::Spu>,
    refusal: Option<(ErrorCode, String)>,
    producer_ids_next: i64,
    registered: Vec<v1::Register>,
    heartbeats: usize,
    reports: Vec<v1::ReplicaReport>,
    streams: Vec<mpsc::Sender<Result<v1::ScMessage, Status>>>,
}

impl Script {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                cluster_id: ClusterId(Uuid::new_v4()),
                controller_epoch: 1,
                topics: BTreeMap::new(),
                partitions: BTreeMap::new(),
                smart_modules: BTreeMap::new(),
                transforms: BTreeMap::new(),
                runners: BTreeMap::new(),
                spus: BTreeMap::new(),
                refusal: None,
                producer_ids_next: 1000,
                registered: Vec::new(),
                heartbeats: 0,
                reports: Vec::new(),
                streams: Vec::new(),
            }),
            heard: watch::Sender::new(0),
        })
    }

    /// One that knows the same, for an SPU that is to hear of changes at another time.
    #[allow(dead_code, reason = "used where two SPUs meet")]
    pub(crate) fn copy(&self) -> Arc<Self> {
        let copy = Self::new();
        let known = self.state();
        let mut state = copy.state();
        state.cluster_id = known.cluster_id;
        state.topics = known.topics.clone();
        state.partitions = known.partitions.clone();
        drop((known, state));
        copy
    }

    /// Adds a topic whose partitions the SPU leads, and tells it.
    pub(crate) fn create_topic(
        &self,
        name: &str,
        partitions: i32,
        config: &[(&str, &str)],
    ) -> TopicId {
        let id = TopicId(Uuid::new_v4());
        let topic = v1::Topic {
            name: name.to_owned(),
            topic_id: id.to_string(),
            spec: Some(v1::TopicSpec {
                placement: Some(v1::topic_spec::Placement::Computed(v1::ComputedPlacement {
                    partitions,
                    replication_factor: 1,
                })),
                config: config
                    .iter()
                    .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                    .collect(),
                produce_chain: None,
            }),
            status: Some(v1::TopicStatus {
                state: v1::TopicState::Provisioned.into(),
                reason: String::new(),
            }),
            version: 1,
        };
        let mut upserted = vec![v1::resource::Resource::Topic(topic.clone())];
        let mut state = self.state();
        state.topics.insert(name.to_owned(), topic);
        for number in 0..partitions {
            let partition = partition(name, id, number, 1);
            upserted.push(v1::resource::Resource::Partition(partition.clone()));
            state
                .partitions
                .insert((name.to_owned(), number), partition);
        }
        state.send_delta(upserted, Vec::new());
        id
    }

    /// Changes a topic's settings, and tells the SPU.
    pub(crate) fn set_config(&self, name: &str, key: &str, value: &str) {
        let mut state = self.state();
        let topic = state.topics.get_mut(name).unwrap();
        let spec = topic.spec.as_mut().unwrap();
        spec.config.insert(key.to_owned(), value.to_owned());
        let changed = v1::resource::Resource::Topic(topic.clone());
        state.send_delta(vec![changed], Vec::new());
    }

    /// Gives a topic a chain, and tells the SPU.
    pub(crate) fn set_chain(&self, name: &str, steps: Vec<v1::ChainStep>) {
        let mut state = self.state();
        let topic = state.topics.get_mut(name).unwrap();
        topic.spec.as_mut().unwrap().produce_chain = Some(v1::ChainSpec { steps });
        let changed = v1::resource::Resource::Topic(topic.clone());
        state.send_delta(vec![changed], Vec::new());
    }

    /// Registers a filter as `name@1.0.0` with bytes of that hash, and tells the SPU.
    pub(crate) fn register_module(&self, name: &str, sha256: &str) {
        self.register_module_as(name, sha256, v1::SmartModuleKind::Filter);
    }

    /// The same with a module of another kind.
    pub(crate) fn register_module_as(&self, name: &str, sha256: &str, kind: v1::SmartModuleKind) {
        let revision = v1::ModuleRevision {
            version: "1.0.0".to_owned(),
            sha256: sha256.to_owned(),
            kind: kind.into(),
            ..v1::ModuleRevision::default()
        };
        let module = v1::SmartModule {
            name: name.to_owned(),
            spec: Some(v1::SmartModuleSpec {
                current: revision.version.clone(),
                revisions: vec![revision],
            }),
            version: 1,
        };
        let registered = v1::resource::Resource::SmartModule(module.clone());
        let mut state = self.state();
        state.smart_modules.insert(name.to_owned(), module);
        state.send_delta(vec![registered], Vec::new());
    }

    /// Begins a new leader epoch, led by `leader`, and tells the SPU.
    pub(crate) fn elect(&self, name: &str, number: i32, leader: Option<i32>) {
        let mut state = self.state();
        let partition = state
            .partitions
            .get_mut(&(name.to_owned(), number))
            .unwrap();
        let status = partition.status.as_mut().unwrap();
        status.leader = leader;
        status.leader_epoch += 1;
        status.partition_epoch += 1;
        let changed = v1::resource::Resource::Partition(partition.clone());
        state.send_delta(vec![changed], Vec::new());
    }

    /// Says who should hold a partition and who is in sync, in the same leader epoch.
    pub(crate) fn set_replicas(&self, name: &str, number: i32, replicas: &[i32], isr: &[i32]) {
        let mut state = self.state();
        let partition = state
            .partitions
            .get_mut(&(name.to_owned(), number))
            .unwrap();
        partition.replicas = replicas.to_vec();
        let status = partition.status.as_mut().unwrap();
        status.isr = isr.to_vec();
        status.partition_epoch += 1;
        let changed = v1::resource::Resource::Partition(partition.clone());
        state.send_delta(vec![changed], Vec::new());
    }

    /// Lets the SPU make a copy anew.
    pub(crate) fn let_refill(&self, topic: TopicId, number: i32, copy: u64) {
        let refill = v1::Refill {
            topic_id: topic.to_string(),
            partition: number,
            copy,
        };
        let refills = vec![refill];
        self.state().send(ToSpu::Refills(v1::Refills { refills }));
    }

    /// Forgets a topic, and tells the SPU.
    pub(crate) fn delete_topic(&self, name: &str) {
        let mut state = self.state();
        state.topics.remove(name);
        state.partitions.retain(|(topic, _), _| topic != name);
        let key = v1::ResourceKey {
            key: Some(v1::resource_key::Key::Topic(name.to_owned())),
        };
        state.send_delta(Vec::new(), vec![key]);
    }

    /// Speaks under another controller epoch from now on.
    pub(crate) fn set_controller_epoch(&self, epoch: u64) {
        self.state().controller_epoch = epoch;
    }

    /// Turns every SPU away from now on; `None` to take them in again.
    pub(crate) fn refuse(&self, refusal: Option<(ErrorCode, &str)>) {
        self.state().refusal = refusal.map(|(code, message)| (code, message.to_owned()));
    }

    /// Belongs to another cluster from now on.
    pub(crate) fn become_another_cluster(&self) {
        self.state().cluster_id = ClusterId(Uuid::new_v4());
    }

    /// What the SPU said when it registered, each time.
    pub(crate) fn registered(&self) -> Vec<v1::Register> {
        self.state().registered.clone()
    }

    /// Waits until the SPU has registered so many times.
    pub(crate) async fn wait_for_registrations(&self, count: usize) {
        self.wait("registrations", |state| state.registered.len() >= count)
            .await;
    }

    /// Waits until the SPU has heartbeat so many times more.
    pub(crate) async fn wait_for_heartbeats(&self, more: usize) {
        let wanted = self.state().heartbeats + more;
        self.wait("heartbeats", |state| state.heartbeats >= wanted)
            .await;
    }

    /// Waits until the SPU has reported that a partition is in a state, and returns the reason.
    pub(crate) async fn wait_for_report(&self, number: i32, wanted: v1::ReplicaState) -> String {
        let reported = |state: &State| {
            let mut reports = state.reports.iter().rev();
            reports
                .find(|report| report.partition == number && report.state() == wanted)
                .cloned()
        };
        self.wait("a report", |state| reported(state).is_some())
            .await;
        reported(&self.state()).unwrap().reason
    }

    /// Waits until the newest report about a partition is this.
    pub(crate) async fn wait_for_last_report(&self, number: i32, wanted: v1::ReplicaState) {
        self.wait("a newest report", |state| {
            let mut reports = state.reports.iter().rev();
            let newest = reports.find(|report| report.partition == number);
            newest.is_some_and(|report| report.state() == wanted)
        })
        .await;
    }

    /// Waits for a report about a partition under one leader epoch.
    pub(crate) async fn wait_for_report_of(
        &self,
        number: i32,
        epoch: i32,
        wanted: v1::ReplicaState,
    ) -> v1::ReplicaReport {
        let reported = |state: &State| {
            let mut reports = state.reports.iter();
            let found = reports.find(|report| {
                report.partition == number
                    && report.leader_epoch == epoch
                    && report.state() == wanted
            });
            found.cloned()
        };
        self.wait("a report under that epoch", |state| {
            reported(state).is_some()
        })
        .await;
        reported(&self.state()).unwrap()
    }

    async fn wait(&self, what: &str, condition: impl Fn(&State) -> bool) {
        let mut heard = self.heard.subscribe();
        let waiting = heard.wait_for(|_| condition(&self.state()));
        assert!(
            tokio::time::timeout(WAIT, waiting).await.is_ok(),
            "waited in vain for {what}"
        );
    }

    fn hear(&self, note: impl FnOnce(&mut State)) {
        note(&mut self.state());
        self.heard.send_modify(|count| *count += 1);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

#[allow(dead_code, reason = "used where records travel to other topics")]
impl Script {
    /// Adds or changes a transform, and tells the SPU.
    pub(crate) fn set_transform(&self, transform: v1::Transform) {
        let mut state = self.state();
        let changed = v1::resource::Resource::Transform(transform.clone());
        state.transforms.insert(transform.name.clone(), transform);
        state.send_delta(vec![changed], Vec::new());
    }

    /// What the SPU said last of a transform on an input partition, once that fits.
    pub(crate) async fn wait_for_runner(
        &self,
        partition: i32,
        fits: impl Fn(&v1::TransformReport) -> bool,
    ) -> v1::TransformReport {
        let reported = |state: &State| {
            let reports = state.runners.get(&partition);
            reports.filter(|report| fits(report)).cloned()
        };
        self.wait("a runner's report", |state| reported(state).is_some())
            .await;
        reported(&self.state()).unwrap()
    }

    /// Waits until no runner is on an input partition any more.
    pub(crate) async fn wait_for_no_runner(&self, partition: i32) {
        self.wait("a runner's end", |state| {
            !state.runners.contains_key(&partition)
        })
        .await;
    }

    /// Gives a topic more partitions, and tells the SPU.
    pub(crate) fn add_partition(&self, name: &str) {
        let mut state = self.state();
        let topic = state.topics.get_mut(name).unwrap();
        let id: TopicId = topic.topic_id.parse().unwrap();
        let spec = topic.spec.as_mut().unwrap();
        let Some(v1::topic_spec::Placement::Computed(placement)) = &mut spec.placement else {
            panic!("the script's topics are placed so");
        };
        let number = placement.partitions;
        placement.partitions += 1;
        let topic = v1::resource::Resource::Topic(topic.clone());
        let partition = partition(name, id, number, 1);
        let key = (name.to_owned(), number);
        state.partitions.insert(key, partition.clone());
        let partition = v1::resource::Resource::Partition(partition);
        state.send_delta(vec![topic, partition], Vec::new());
    }

    /// Tells every SPU that this one serves at `address`.
    pub(crate) fn announce_spu(&self, address: SocketAddr) {
        let spu = v1::Spu {
            id: SPU,
            spec: Some(v1::SpuSpec::default()),
            status: Some(v1::SpuStatus {
                state: v1::SpuState::Online.into(),
                data_address: address.to_string(),
                incarnation: 1,
                directory_id: Uuid::new_v4().to_string(),
                software_version: "0.1.0".to_owned(),
            }),
            version: 1,
        };
        let mut state = self.state();
        state.spus.insert(SPU, spu.clone());
        state.send_delta(vec![v1::resource::Resource::Spu(spu)], Vec::new());
    }
}

impl State {
    fn hear_of_runners(&mut self, told: v1::TransformReports) {
        for ended in told.ended {
            self.runners.remove(&ended.partition);
        }
        for report in told.reports {
            self.runners.insert(report.partition, report);
        }
    }

    fn send_delta(&mut self, upserted: Vec<v1::resource::Resource>, deleted: Vec<v1::ResourceKey>) {
        let delta = v1::ClusterDelta {
            controller_epoch: self.controller_epoch,
            upserted: upserted
                .into_iter()
                .map(|resource| v1::Resource {
                    resource: Some(resource),
                })
                .collect(),
            deleted,
        };
        self.send(ToSpu::Delta(delta));
    }

    fn send(&mut self, message: ToSpu) {
        self.streams
            .retain(|stream| stream.try_send(Ok(sc_message(message.clone()))).is_ok());
    }
}

impl ScriptedSc {
    /// Starts on a free port.
    pub(crate) async fn start(script: &Arc<Script>) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), script).await
    }

    /// Starts where an SC was before.
    pub(crate) async fn start_at(address: SocketAddr, script: &Arc<Script>) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let tasks = TaskGroup::new();
        let service = ControlServer::new(Service(Arc::clone(script), tasks.clone()));
        tasks.spawn("scripted-sc", |shutdown| {
            tonic::transport::Server::builder()
                .add_service(service)
                .serve_with_incoming_shutdown(
                    TcpListenerStream::new(listener),
                    shutdown.cancelled_owned(),
                )
        });
        Self {
            address,
            script: Arc::clone(script),
            tasks,
        }
    }

    /// Goes away without a word.
    pub(crate) async fn stop(self) -> SocketAddr {
        // No more streams first, so that the SPU can't come back on a connection that is to end.
        self.tasks.shutdown().cancel();
        self.script.state().streams.clear();
        self.tasks.stop().await;
        self.address
    }
}

struct Service(Arc<Script>, TaskGroup);

#[tonic::async_trait]
impl Control for Service {
    type ConnectStream = ReceiverStream<Result<v1::ScMessage, Status>>;

    async fn connect(
        &self,
        request: Request<Streaming<v1::SpuMessage>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let mut incoming = request.into_inner();
        let first = incoming
            .message()
            .await?
            .and_then(|message| message.message);
        let Some(FromSpu::Register(register)) = first else {
            return Err(Status::invalid_argument("register first"));
        };
        self.0.hear(|state| state.registered.push(register));
        let (stream, answers) = mpsc::channel(1024);
        {
            let mut state = self.0.state();
            if let Some((code, message)) = &state.refusal {
                return Err(status(*code, message));
            }
            // Who came just before the end would never be told of it: its stream is made behind the
            // others' end, and the end waits for it.
            if self.1.shutdown().is_cancelled() {
                return Err(Status::unavailable("going away"));
            }
            for message in [state.registered_message(), state.snapshot_message()] {
                stream.try_send(Ok(sc_message(message))).unwrap();
            }
            state.streams.push(stream);
        }
        let script = Arc::clone(&self.0);
        self.1.spawn("hear", move |shutdown| async move {
            while let Some(Ok(Some(message))) =
                shutdown.run_until_cancelled(incoming.message()).await
            {
                script.hear(|state| match message.message {
                    Some(FromSpu::Heartbeat(_)) => state.heartbeats += 1,
                    Some(FromSpu::Replicas(reports)) => state.reports.extend(reports.reports),
                    Some(FromSpu::Transforms(told)) => state.hear_of_runners(told),
                    // There is no other SPU to lead in its place.
                    Some(FromSpu::Stopping(_)) => {}
                    // Nobody joins: the test says who is in sync.
                    Some(FromSpu::IsrChanges(_)) => {}
                    _ => panic!("an SPU says only once who it is"),
                });
            }
            Ok::<_, Infallible>(())
        });
        Ok(Response::new(ReceiverStream::new(answers)))
    }

    async fn allocate_producer_ids(
        &self,
        _request: Request<v1::AllocateProducerIdsRequest>,
    ) -> Result<Response<v1::AllocateProducerIdsResponse>, Status> {
        let mut state = self.0.state();
        let first = state.producer_ids_next;
        state.producer_ids_next += 1000;
        Ok(Response::new(v1::AllocateProducerIdsResponse {
            first,
            count: 1000,
        }))
    }

    async fn ensure_offsets_topic(
        &self,
        _request: Request<v1::EnsureOffsetsTopicRequest>,
    ) -> Result<Response<v1::EnsureOffsetsTopicResponse>, Status> {
        if !self.0.state().topics.contains_key(OFFSETS_TOPIC) {
            self.0.create_topic(OFFSETS_TOPIC, OFFSETS_PARTITIONS, &[]);
        }
        Ok(Response::new(v1::EnsureOffsetsTopicResponse {}))
    }
}

impl State {
    fn registered_message(&self) -> ToSpu {
        ToSpu::Registered(v1::Registered {
            cluster_id: self.cluster_id.to_string(),
            controller_epoch: self.controller_epoch,
            heartbeat_interval_ms: HEARTBEAT_INTERVAL_MS,
            internal_client_id: INTERNAL_CLIENT_ID.to_owned(),
        })
    }

    fn snapshot_message(&self) -> ToSpu {
        ToSpu::Snapshot(v1::ClusterSnapshot {
            controller_epoch: self.controller_epoch,
            topics: self.topics.values().cloned().collect(),
            partitions: self.partitions.values().cloned().collect(),
            spus: self.spus.values().cloned().collect(),
            smart_modules: self.smart_modules.values().cloned().collect(),
            transforms: self.transforms.values().cloned().collect(),
        })
    }
}

fn sc_message(message: ToSpu) -> v1::ScMessage {
    v1::ScMessage {
        message: Some(message),
    }
}

fn partition(topic: &str, id: TopicId, number: i32, leader_epoch: i32) -> v1::Partition {
    // The names are checked here, so that a test that misspells one fails where it does.
    let name = TopicName::new(topic).unwrap();
    v1::Partition {
        topic: name.to_string(),
        topic_id: id.to_string(),
        partition: PartitionIndex(number).0,
        replicas: vec![SPU],
        status: Some(v1::PartitionStatus {
            state: v1::PartitionState::Online.into(),
            leader: Some(SPU),
            leader_epoch,
            isr: vec![SPU],
            partition_epoch: leader_epoch,
            reason: String::new(),
            unclean_elections: 0,
        }),
        moving: None,
        version: 1,
    }
}
