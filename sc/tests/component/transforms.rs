//! Transforms: made, changed, looked at, begun anew and deleted; what they hold; and what runners say of them.

use tempfile::TempDir;
use thalweg_metadata::{MetadataStore as _, SledOptions, SledStore, Write};
use thalweg_proto::error_code;
use thalweg_proto::v1::{
    BackfillSpec, ChainSpec, ChainStep, CreateTransformRequest, DeleteSmartModuleRequest,
    DeleteTopicRequest, DeleteTransformRequest, GetSmartModuleRequest, GetTransformRequest,
    GetTransformResponse, ListTransformsRequest, LookBack, ResetTransformRequest, Transform,
    TransformReport, TransformReports, TransformRunState, TransformRunner, TransformSpec,
    TransformState, UpdateTransformRequest, spu_message,
};
use thalweg_types::resource::{
    ModuleRevision, Resource, ResourceKey, ResourceVersion, SmartModule, SmartModuleKind,
    SmartModuleSpec,
};
use thalweg_types::{ErrorCode, Offset};
use tonic::Status;

use crate::fake_spu::FakeSpu;
use crate::test_sc::{TestSc, within};

/// An SC that keeps the filter `late`, whose bytes nobody needs here.
async fn sc_with_module() -> TestSc {
    let directory = TempDir::new().unwrap();
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
    let module = SmartModule {
        name: "late".parse().unwrap(),
        spec: SmartModuleSpec {
            current: revision.version.clone(),
            revisions: vec![revision],
            leaving: false,
        },
        version: ResourceVersion(0),
    };
    let store = SledStore::open(directory.path(), SledOptions::default()).await;
    let store = store.unwrap();
    let written = store.write(vec![Write::Create(module.into())]).await;
    written.unwrap().remove(0).unwrap();
    drop(store);
    TestSc::start_on(directory, &["--spu-timeout=10m"]).await
}

fn spec(input: &str, output: &str) -> TransformSpec {
    TransformSpec {
        inputs: vec![input.to_owned()],
        outputs: vec![output.to_owned()],
        chain: Some(ChainSpec {
            steps: vec![ChainStep {
                uses: "late".to_owned(),
                ..ChainStep::default()
            }],
        }),
        ..TransformSpec::default()
    }
}

async fn create(sc: &TestSc, name: &str, spec: TransformSpec) -> Result<Transform, Status> {
    let request = CreateTransformRequest {
        name: name.to_owned(),
        spec: Some(spec),
        validate_only: false,
    };
    let created = sc.admin().create_transform(request).await?;
    Ok(created.into_inner().transform.unwrap())
}

async fn update(
    sc: &TestSc,
    spec: TransformSpec,
    expected_version: Option<u64>,
) -> Result<Transform, Status> {
    let request = UpdateTransformRequest {
        name: "x".to_owned(),
        spec: Some(spec),
        expected_version,
        validate_only: false,
    };
    let updated = sc.admin().update_transform(request).await?;
    Ok(updated.into_inner().transform.unwrap())
}

async fn get(sc: &TestSc, name: &str) -> Result<GetTransformResponse, Status> {
    let name = name.to_owned();
    let got = sc
        .admin()
        .get_transform(GetTransformRequest { name })
        .await?;
    Ok(got.into_inner())
}

fn state(transform: &Transform) -> TransformState {
    transform.status.as_ref().unwrap().state()
}

#[tokio::test]
async fn a_new_transform_runs_and_spus_are_told() {
    let sc = sc_with_module().await;
    let mut spu = FakeSpu::new(&sc, 0).await;
    for topic in ["a", "b"] {
        sc.create_topic(topic, 1, 1).await.unwrap();
    }

    let created = create(&sc, "x", spec("a", "b")).await.unwrap();

    assert_eq!(state(&created), TransformState::Running);
    assert!(created.number > 0);
    let key = ResourceKey::Transform("x".parse().unwrap());
    spu.until(|spu| match spu.known.get(&key) {
        Some(Resource::Transform(told)) => {
            told.status.state == thalweg_types::resource::TransformState::Running
        }
        _ => false,
    })
    .await;
    let again = create(&sc, "x", spec("a", "b")).await.unwrap_err();
    assert_eq!(error_code(&again), ErrorCode::AlreadyExists);
    let lost = create(&sc, "y", spec("a", "lost")).await.unwrap_err();
    assert_eq!(error_code(&lost), ErrorCode::InvalidRequest);
    assert!(lost.message().starts_with("spec.outputs[0]: "), "{lost}");
    let round = create(&sc, "y", spec("b", "a")).await.unwrap_err();
    let way = "b -> (transform y) -> a -> (transform x) -> b";
    assert!(round.message().contains(way), "{round}");

    let delete = DeleteTransformRequest {
        name: "x".to_owned(),
    };
    sc.admin().delete_transform(delete).await.unwrap();
    spu.until(|spu| !spu.known.contains_key(&key)).await;
    let gone = get(&sc, "x").await.unwrap_err();
    assert_eq!(error_code(&gone), ErrorCode::NotFound);
}

#[tokio::test]
async fn what_a_transform_keeps_is_in_a_changelog_that_comes_and_goes_with_it() {
    let sc = sc_with_module().await;
    let mut spu = FakeSpu::new(&sc, 0).await;
    for topic in ["a", "b"] {
        sc.create_topic(topic, 2, 1).await.unwrap();
    }
    let keeping = TransformSpec {
        dedup: Some(LookBack {
            last: Some(10),
            age_ms: None,
        }),
        ..spec("a", "b")
    };
    let created = create(&sc, "x", keeping).await.unwrap();

    let changelog = get(&sc, "x").await.unwrap().changelog;
    assert_eq!(
        changelog,
        format!("__transform-{}-changelog", created.number)
    );
    let key = |name: &str| ResourceKey::Topic(name.parse().unwrap());
    let partitions = |spu: &FakeSpu, name: &str| {
        let keys = spu.known.keys();
        keys.filter(|key| matches!(key, ResourceKey::Partition(of) if of.topic.as_str() == name))
            .count()
    };
    let before = key(&changelog);
    spu.until(|spu| partitions(spu, &changelog) == 2).await;
    let delete = DeleteTopicRequest {
        name: changelog.clone(),
    };
    let refused = sc.admin().delete_topic(delete).await.unwrap_err();
    assert_eq!(error_code(&refused), ErrorCode::InvalidRequest);

    let reset = ResetTransformRequest {
        name: "x".to_owned(),
        start: String::new(),
    };
    sc.admin().reset_transform(reset).await.unwrap();
    let changelog = get(&sc, "x").await.unwrap().changelog;
    let after = key(&changelog);
    spu.until(|spu| !spu.known.contains_key(&before) && partitions(spu, &changelog) == 2)
        .await;
    let delete = DeleteTransformRequest {
        name: "x".to_owned(),
    };
    sc.admin().delete_transform(delete).await.unwrap();
    spu.until(|spu| !spu.known.contains_key(&after)).await;
}

#[tokio::test]
async fn all_but_its_topics_can_be_changed() {
    let sc = sc_with_module().await;
    let _spu = FakeSpu::new(&sc, 0).await;
    for topic in ["a", "b", "c"] {
        sc.create_topic(topic, 1, 1).await.unwrap();
    }
    let created = create(&sc, "x", spec("a", "b")).await.unwrap();

    let paused = TransformSpec {
        paused: true,
        compression: "zstd".to_owned(),
        ..spec("a", "b")
    };
    let updated = update(&sc, paused.clone(), Some(created.version)).await;

    let updated = updated.unwrap();
    assert_eq!(state(&updated), TransformState::Paused);
    assert_eq!(updated.spec.unwrap().compression, "zstd");
    assert_eq!(updated.number, created.number);
    let late = update(&sc, paused, Some(created.version)).await;
    assert_eq!(error_code(&late.unwrap_err()), ErrorCode::Conflict);
    for (other, what) in [(spec("c", "b"), "inputs"), (spec("a", "c"), "outputs")] {
        let refused = update(&sc, other, None).await.unwrap_err();
        assert_eq!(error_code(&refused), ErrorCode::InvalidRequest);
        let words = format!("the {what} of transform `x` can't be changed");
        assert!(refused.message().starts_with(&words), "{refused}");
        assert!(
            refused.message().contains("transform delete x"),
            "{refused}"
        );
    }
}

#[tokio::test]
async fn a_reset_makes_it_another_to_its_outputs() {
    let mut sc = sc_with_module().await;
    let spu = FakeSpu::new(&sc, 0).await;
    for topic in ["a", "b"] {
        sc.create_topic(topic, 1, 1).await.unwrap();
    }
    let created = create(&sc, "x", spec("a", "b")).await.unwrap();
    let reset = |start: &str| ResetTransformRequest {
        name: "x".to_owned(),
        start: start.to_owned(),
    };

    let done = sc.admin().reset_transform(reset("offset:5")).await.unwrap();

    let done = done.into_inner().transform.unwrap();
    assert!(done.number > created.number);
    assert_eq!(done.spec.unwrap().start, "offset:5");
    assert_eq!(done.status.unwrap().state(), TransformState::Running);
    let wrong = sc.admin().reset_transform(reset("latest")).await;
    assert!(wrong.unwrap_err().message().starts_with("start: "));
    spu.leave().await;
    sc.restart().await;
    let kept = get(&sc, "x").await.unwrap().transform.unwrap();
    assert_eq!(kept.number, done.number);
}

#[tokio::test]
async fn what_a_transform_needs_can_not_be_deleted() {
    let sc = sc_with_module().await;
    let _spu = FakeSpu::new(&sc, 0).await;
    for topic in ["a", "b"] {
        sc.create_topic(topic, 1, 1).await.unwrap();
    }
    create(&sc, "x", spec("a", "b")).await.unwrap();
    let mut admin = sc.admin();

    for (topic, does) in [("a", "reads"), ("b", "writes")] {
        let name = topic.to_owned();
        let refused = admin.delete_topic(DeleteTopicRequest { name }).await;
        let refused = refused.unwrap_err();
        assert_eq!(error_code(&refused), ErrorCode::InvalidRequest);
        let words = format!("transform `x` {does} topic `{topic}`");
        assert!(refused.message().contains(&words), "{refused}");
        let next = "thalweg transform delete x";
        assert!(refused.message().contains(next), "{refused}");
    }
    let delete = DeleteSmartModuleRequest {
        name: "late".to_owned(),
        version: String::new(),
    };
    let refused = admin.delete_smart_module(delete).await.unwrap_err();
    assert!(refused.message().contains("transform `x`"), "{refused}");
    let module = GetSmartModuleRequest {
        name: "late".to_owned(),
    };
    let module = admin.get_smart_module(module).await.unwrap().into_inner();
    assert_eq!(module.used_by[0].transform, "x");
    assert_eq!(module.used_by[0].topic, "");
}

fn report(transform: &Transform, partition: i32, state: TransformRunState) -> TransformReport {
    TransformReport {
        transform: transform.name.clone(),
        number: transform.number,
        topic: "a".to_owned(),
        partition,
        leader_epoch: 0,
        state: state.into(),
        reason: String::new(),
        position: 90,
        end: 100,
        lag_ms: 500,
        records_in: 90,
        records_out: 30,
        failed: 1,
        restarts: 0,
        modules: "late@1.0.0".to_owned(),
        ..TransformReport::default()
    }
}

async fn says(spu: &FakeSpu, reports: Vec<TransformReport>, ended: Vec<TransformRunner>) {
    let news = TransformReports { reports, ended };
    spu.send(spu_message::Message::Transforms(news)).await;
}

/// Waits until so many partitions of `x` have a report.
async fn until_reported(sc: &TestSc, count: usize) -> GetTransformResponse {
    let poll = async {
        loop {
            let got = get(sc, "x").await.unwrap();
            let reports = got.partitions.iter().filter(|one| one.report.is_some());
            if reports.count() == count {
                return got;
            }
            tokio::task::yield_now().await;
        }
    };
    within("runners have reported", poll).await
}

#[tokio::test]
async fn what_runners_say_is_shown_until_they_end_or_their_spu_leaves() {
    let sc = sc_with_module().await;
    let spu = FakeSpu::new(&sc, 0).await;
    for topic in ["a", "b"] {
        sc.create_topic(topic, 2, 1).await.unwrap();
    }
    let x = create(&sc, "x", spec("a", "b")).await.unwrap();
    let silent = get(&sc, "x").await.unwrap();
    assert_eq!(silent.partitions.len(), 2);
    let reason = &silent.partitions[0].reason;
    assert!(reason.contains("SPU 0 leads"), "{reason}");

    let both = vec![
        report(&x, 0, TransformRunState::Running),
        report(&x, 1, TransformRunState::Failed),
    ];
    says(&spu, both.clone(), Vec::new()).await;

    let shown = until_reported(&sc, 2).await;
    assert_eq!(shown.partitions[1].report, Some(both[1].clone()));
    assert_eq!(shown.partitions[1].leader, Some(0));
    let listed = sc.admin().list_transforms(ListTransformsRequest {}).await;
    let listed = listed.unwrap().into_inner().transforms.remove(0);
    assert_eq!((listed.partitions, listed.running), (2, 1));
    assert_eq!((listed.failed, listed.lag_records), (1, 20));
    assert_eq!(listed.lag_ms, 500);

    let ended = TransformRunner {
        number: x.number,
        topic: "a".to_owned(),
        partition: 1,
    };
    says(&spu, Vec::new(), vec![ended]).await;
    until_reported(&sc, 1).await;
    spu.leave().await;
    until_reported(&sc, 0).await;
}

#[tokio::test]
async fn a_backfill_gets_a_number_and_takes_the_transforms_place_with_it() {
    let mut sc = sc_with_module().await;
    let spu = FakeSpu::new(&sc, 0).await;
    for topic in ["a", "b", "c", "d"] {
        sc.create_topic(topic, 1, 1).await.unwrap();
    }
    let created = create(&sc, "x", spec("a", "b")).await.unwrap();
    let with_backfill = |output: &str| TransformSpec {
        backfill: Some(BackfillSpec {
            chain: spec("a", "b").chain,
            outputs: vec![output.to_owned()],
            start: String::new(),
        }),
        ..spec("a", "b")
    };

    let begun = update(&sc, with_backfill("c"), None).await.unwrap();

    let number = begun.backfill_number.unwrap();
    assert!(number > created.number);
    assert_eq!(begun.number, created.number);
    assert_eq!(get(&sc, "x").await.unwrap().backfill_partitions.len(), 1);
    let refused = update(&sc, with_backfill("d"), None).await.unwrap_err();
    assert!(refused.message().contains("backfill abort x"), "{refused}");
    let name = "c".to_owned();
    let in_use = sc.admin().delete_topic(DeleteTopicRequest { name }).await;
    assert_eq!(error_code(&in_use.unwrap_err()), ErrorCode::InvalidRequest);

    let switched = update(&sc, spec("a", "c"), None).await.unwrap();

    assert_eq!(switched.number, number);
    assert_eq!(switched.backfill_number, None);
    assert_eq!(state(&switched), TransformState::Running);
    spu.leave().await;
    sc.restart().await;
    let kept = get(&sc, "x").await.unwrap().transform.unwrap();
    assert_eq!(kept.number, number);
}
