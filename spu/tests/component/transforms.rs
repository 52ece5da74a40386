//! What an SPU and the real SC tell each other of transforms.

use std::path::Path;

use thalweg_client::{Client, ClientOptions, TransformPartition};
use thalweg_metadata::{MetadataStore as _, SledOptions, SledStore, Write};
use thalweg_sc::Sc;
use thalweg_types::resource::{
    ModuleRevision, OutputPartitioning, Resource, ResourceVersion, SmartModule, SmartModuleKind,
    SmartModuleSpec, StartPosition, Transform, TransformNumber, TransformSpec, TransformState,
    TransformStatus,
};
use thalweg_types::{
    ChainSpec, CompressionPolicy, Offset, OnError, PartitionIndex, StepSpec, TransformReport,
    TransformRunState,
};

use crate::harness::{leader, name, start, until_told, view_where};
use crate::real_sc::{create_topic, start_sc};

const NUMBER: TransformNumber = TransformNumber(7);

/// A filter whose bytes nobody needs here.
fn late() -> SmartModule {
    let revision = ModuleRevision {
        version: "1.0.0".parse().unwrap(),
        sha256: String::new(),
        kind: SmartModuleKind::Filter,
        size_bytes: 1,
        description: String::new(),
        params: Vec::new(),
        looks_back: false,
        offset: Offset::ZERO,
        created_ms: 0,
    };
    SmartModule {
        name: "late".parse().unwrap(),
        spec: SmartModuleSpec {
            current: revision.version.clone(),
            revisions: vec![revision],
            leaving: false,
        },
        version: ResourceVersion(0),
    }
}

/// It stands still, so that nothing but the test says how it fares.
fn late_orders() -> Transform {
    let step = StepSpec {
        uses: "late".parse().unwrap(),
        with: [].into(),
        look_back: None,
        on_error: OnError::Stop,
        aggregate: None,
    };
    Transform {
        name: "late-orders".parse().unwrap(),
        number: NUMBER,
        backfill_number: None,
        spec: TransformSpec {
            inputs: vec![name("orders")],
            outputs: vec![name("late")],
            chain: ChainSpec { steps: vec![step] },
            start: StartPosition::Beginning,
            partitioning: OutputPartitioning::Key,
            compression: CompressionPolicy::Uncompressed,
            dedup: None,
            tables: Vec::new(),
            capabilities: thalweg_types::Capabilities::default(),
            canary: None,
            backfill: None,
            paused: true,
        },
        status: TransformStatus::default(),
        version: ResourceVersion(0),
    }
}

async fn keep(data_dir: &Path, rows: Vec<Resource>) {
    let store = SledStore::open(data_dir, SledOptions::default()).await;
    let writes = rows.into_iter().map(Write::Create).collect();
    for written in store.unwrap().write(writes).await.unwrap() {
        written.unwrap();
    }
}

/// What the SC says of the transform on the one partition of its input.
async fn shown(sc: &Sc) -> TransformPartition {
    let options = ClientOptions::new(sc.admin_address().to_string());
    let admin = Client::connect(options).await.unwrap().admin();
    let described = admin.describe_transform(&late_orders().name).await;
    described.unwrap().partitions.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_spu_hears_of_transforms_and_says_how_they_fare() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("sc");
    keep(&data_dir, vec![late().into(), late_orders().into()]).await;
    let sc = start_sc("127.0.0.1:0", &data_dir).await;
    let address = sc.admin_address().to_string();
    let spu = start(&address, &folder.path().join("spu")).await;
    let known = view_where(&spu, |view| !view.transforms.is_empty()).await;
    let told = known.transforms.values().next().unwrap();
    assert_eq!(
        told.state,
        TransformState::Pending,
        "its topics are missing"
    );

    create_topic(&spu, "orders", 1).await;
    create_topic(&spu, "late", 1).await;

    let told = |view: &thalweg_spu::View| view.transforms.values().next().unwrap().clone();
    let known = view_where(&spu, |view| told(view).state == TransformState::Paused).await;
    assert_eq!(told(&known).spec, late_orders().spec);
    let replica = leader(&spu, "orders", 0).await;
    let report = TransformReport {
        transform: late_orders().name,
        number: NUMBER,
        topic: name("orders"),
        partition: PartitionIndex(0),
        leader_epoch: replica.leader_epoch(),
        state: TransformRunState::Running,
        reason: String::new(),
        position: Offset(5),
        end: Offset(9),
        lag_ms: 100,
        records_in: 5,
        records_out: 2,
        failed: 0,
        late: 0,
        duplicates: 0,
        state_entries: 3,
        state_bytes: 96,
        restarts: 0,
        modules: "late@1.0.0".to_owned(),
    };
    let reports = &spu.context().reports;
    reports.set(report.clone());
    let said = until_told("the SC says how it fares", async || shown(&sc).await.report).await;
    assert_eq!(said, report);

    reports.remove(NUMBER, &report.topic, report.partition);
    until_told("the SC has forgotten it", async || {
        shown(&sc).await.report.is_none().then_some(())
    })
    .await;
    spu.stop().await;
    sc.stop().await;
}
