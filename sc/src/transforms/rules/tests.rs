//! Specs against rows in memory.

use thalweg_types::resource::{
    BackfillSpec, ModuleParam, ModuleRevision, OutputPartitioning, ReplicaPlacement,
    ResourceVersion, SmartModule, SmartModuleSpec, StartPosition, Topic, TopicSpec, TopicStatus,
    TransformNumber, TransformStatus,
};
use thalweg_types::{
    AggregateSpec, CompressionPolicy, LateRecords, Offset, TopicConfig, TopicId, WindowSpec,
};
use uuid::Uuid;

use super::*;

/// The topics `a` to `f`, the filter `late` that needs `minutes`, and the aggregate `sum`.
pub(in crate::transforms) fn observed() -> Observed {
    let mut observed = Observed::default();
    for (name, kind) in [
        ("late", SmartModuleKind::Filter),
        ("sum", SmartModuleKind::Aggregate),
    ] {
        let minutes = ModuleParam {
            name: "minutes".to_owned(),
            value_type: "u32".to_owned(),
            required: true,
            default: None,
            description: String::new(),
        };
        let revision = ModuleRevision {
            version: "1.0.0".parse().unwrap(),
            sha256: String::new(),
            kind,
            size_bytes: 1,
            description: String::new(),
            params: vec![minutes],
            looks_back: true,
            offset: Offset::ZERO,
            created_ms: 0,
        };
        let module = SmartModule {
            name: name.parse().unwrap(),
            spec: SmartModuleSpec {
                current: revision.version.clone(),
                revisions: vec![revision],
                leaving: false,
            },
            version: ResourceVersion(1),
        };
        observed.smart_modules.insert(module.name.clone(), module);
    }
    for name in ["a", "b", "c", "d", "e", "f"] {
        let topic = Topic {
            name: name.parse().unwrap(),
            id: TopicId(Uuid::nil()),
            spec: TopicSpec {
                placement: ReplicaPlacement::Assigned(Vec::new()),
                config: TopicConfig::default(),
                produce_chain: ChainSpec::default(),
            },
            status: TopicStatus {
                state: TopicState::Provisioned,
                reason: String::new(),
            },
            version: ResourceVersion(1),
        };
        observed.topics.insert(topic.name.clone(), topic);
    }
    observed
}

fn topics(names: &str) -> Vec<TopicName> {
    let names = names.split(' ').filter(|name| !name.is_empty());
    names.map(|name| name.parse().unwrap()).collect()
}

pub(in crate::transforms) fn late() -> StepSpec {
    StepSpec {
        uses: "late".parse().unwrap(),
        with: [("minutes".to_owned(), "60".to_owned())].into(),
        look_back: None,
        on_error: OnError::Stop,
        aggregate: None,
    }
}

pub(crate) fn transform(name: &str, number: u64, inputs: &str, outputs: &str) -> Transform {
    Transform {
        name: name.parse().unwrap(),
        number: TransformNumber(number),
        backfill_number: None,
        spec: TransformSpec {
            inputs: topics(inputs),
            outputs: topics(outputs),
            chain: ChainSpec {
                steps: vec![late()],
            },
            start: StartPosition::Beginning,
            partitioning: OutputPartitioning::Key,
            compression: CompressionPolicy::Uncompressed,
            dedup: None,
            tables: Vec::new(),
            capabilities: thalweg_types::Capabilities::default(),
            canary: None,
            backfill: None,
            paused: false,
        },
        status: TransformStatus::default(),
        version: ResourceVersion(1),
    }
}

fn refused(transform: &Transform, observed: &Observed) -> String {
    let error = check(&transform.name, &transform.spec, observed).unwrap_err();
    error.to_string()
}

#[test]
fn topics_and_modules_that_there_are_make_a_transform() {
    let mut letters = transform("x", 1, "a b", "c d");
    letters.spec.chain.steps[0].on_error = OnError::DeadLetter("e".parse().unwrap());

    for spec in [letters.spec, transform("x", 1, "a", "b").spec] {
        assert_eq!(check(&"x".parse().unwrap(), &spec, &observed()), Ok(()));
    }
}

#[test]
fn topics_that_can_not_be_read_or_written_are_named() {
    let mut observed = observed();
    let leaving = &"f".parse().unwrap();
    observed.topics.get_mut(leaving).unwrap().status.state = TopicState::Deleting;
    let many = vec!["a"; 65].join(" ");
    for (inputs, outputs, field, words) in [
        ("", "b", "spec.inputs", "0 topics"),
        (&many, "b", "spec.inputs", "65 topics, 1 to 64"),
        ("a", "", "spec.outputs", "0 topics"),
        ("a a", "b", "spec.inputs[1]", "twice"),
        ("a", "b b", "spec.outputs[1]", "twice"),
        ("lost", "b", "spec.inputs[0]", "topic create lost"),
        ("a", "b lost", "spec.outputs[1]", "topic create lost"),
        ("__own", "b", "spec.inputs[0]", "the cluster's own"),
        ("a", "__own", "spec.outputs[0]", "the cluster's own"),
        ("f", "b", "spec.inputs[0]", "being deleted"),
        ("a b", "c b", "spec.outputs[1]", "an input, too"),
    ] {
        let error = refused(&transform("x", 1, inputs, outputs), &observed);

        assert!(error.starts_with(&format!("{field}: ")), "{error}");
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn tables_that_keys_can_not_be_looked_up_in_are_named() {
    let mut observed = observed();
    for (compacted, policy) in [("c", "compact"), ("d", "compact"), ("f", "compact")] {
        let topic = observed.topics.get_mut(&compacted.parse().unwrap());
        let config = &mut topic.unwrap().spec.config;
        config.set("cleanup.policy", policy).unwrap();
    }
    let leaving = &"f".parse().unwrap();
    observed.topics.get_mut(leaving).unwrap().status.state = TopicState::Deleting;
    let with = |tables: &str| {
        let mut transform = transform("x", 1, "a", "b");
        transform.spec.tables = topics(tables);
        transform
    };
    let fits = with("c d");
    assert_eq!(check(&fits.name, &fits.spec, &observed), Ok(()));

    let many = vec!["c"; 17].join(" ");
    for (tables, field, words) in [
        (many.as_str(), "spec.tables", "17 topics, 0 to 16"),
        ("c c", "spec.tables[1]", "twice"),
        ("lost", "spec.tables[0]", "topic create lost"),
        ("__own", "spec.tables[0]", "the cluster's own"),
        ("c f", "spec.tables[1]", "being deleted"),
        ("a", "spec.tables[0]", "`a` is an input, too"),
        ("c b", "spec.tables[1]", "writes `b`, too"),
        (
            "c e",
            "spec.tables[1]",
            "`e` is not compacted alone: make it with `--config cleanup.policy=compact`",
        ),
    ] {
        let error = refused(&with(tables), &observed);

        assert!(error.starts_with(&format!("{field}: ")), "{error}");
        assert!(error.contains(words), "{error}");
    }
    let mut letters = with("c");
    letters.spec.chain.steps[0].on_error = OnError::DeadLetter("c".parse().unwrap());
    let error = refused(&letters, &observed);
    assert!(error.contains("writes `c`, too"), "{error}");
}

#[test]
fn steps_that_can_not_run_are_named() {
    let with = |change: fn(&mut StepSpec)| {
        let mut transform = transform("x", 1, "a", "b");
        let mut step = late();
        change(&mut step);
        transform.spec.chain.steps.push(step);
        refused(&transform, &observed())
    };
    let cases = [
        (
            with(|step| step.uses = "lost".parse().unwrap()),
            "no SmartModule `lost`",
        ),
        (
            with(|step| step.aggregate = Some(AggregateSpec::default())),
            "`late` is no aggregate",
        ),
        (
            with(|step| step.look_back = Some(LookBack::default())),
            "keep state with an aggregate or with dedup",
        ),
        (
            with(|step| {
                step.uses = "sum".parse().unwrap();
                step.aggregate = Some(windowed(WindowShape::MS_MAX + 1));
            }),
            "the hundred years",
        ),
        (
            with(|step| step.with.clear()),
            "needs the parameter `minutes`",
        ),
        (
            with(|step| step.on_error = OnError::DeadLetter("lost".parse().unwrap())),
            "topic create lost",
        ),
        (
            with(|step| step.on_error = OnError::DeadLetter("__own".parse().unwrap())),
            "the cluster's own",
        ),
        (
            with(|step| step.on_error = OnError::DeadLetter("a".parse().unwrap())),
            "is an input",
        ),
    ];
    for (error, words) in cases {
        assert!(error.starts_with("spec.chain.steps[1]: "), "{error}");
        assert!(error.contains(words), "{error}");
    }

    let mut none = transform("x", 1, "a", "b");
    none.spec.chain.steps.clear();
    assert!(refused(&none, &observed()).contains("has 0 steps"));
    none.spec.chain.steps = vec![late(); 33];
    assert!(refused(&none, &observed()).contains("has 33 steps"));
}

fn windowed(lateness_ms: u64) -> AggregateSpec {
    AggregateSpec {
        window: Some(WindowSpec {
            shape: WindowShape::Tumbling { size_ms: 60_000 },
            lateness_ms,
            late: LateRecords::Fail,
        }),
        ..AggregateSpec::default()
    }
}

/// A transform whose last step is an aggregate.
pub(in crate::transforms) fn summing(inputs: &str) -> Transform {
    let mut summing = transform("x", 1, inputs, "f");
    summing.spec.chain.steps.push(StepSpec {
        uses: "sum".parse().unwrap(),
        ..late()
    });
    summing
}

#[test]
fn one_aggregate_of_one_input_is_allowed() {
    let observed = observed();
    let check = |transform: &Transform| check(&transform.name, &transform.spec, &observed);
    let mut summing = summing("a");

    assert_eq!(check(&summing), Ok(()));
    assert!(keeps_state(&summing.spec, &observed));
    summing.spec.chain.steps[1].aggregate = Some(windowed(WindowShape::MS_MAX));
    assert_eq!(check(&summing), Ok(()));
    let plain = transform("x", 1, "a b", "c");
    assert!(!keeps_state(&plain.spec, &observed));

    summing.spec.chain.steps.push(late());
    let third = summing.spec.chain.steps[1].clone();
    summing.spec.chain.steps.push(third);
    let error = refused(&summing, &observed);
    assert!(error.starts_with("spec.chain.steps[3]: "), "{error}");
    assert!(error.contains("steps 2 and 4 are both"), "{error}");
}

#[test]
fn what_keeps_state_has_one_input() {
    let observed = observed();
    let mut deduplicating = transform("x", 1, "a b", "c");
    deduplicating.spec.dedup = Some(LookBack {
        last: Some(DEDUP_LAST_MAX),
        age_ms: None,
    });

    for transform in [summing("a b"), deduplicating] {
        let error = refused(&transform, &observed);

        let expected = "spec.inputs: a transform that keeps state has one input: this one has 2";
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn what_can_not_be_remembered_is_refused() {
    let observed = observed();
    for (last, age_ms, words) in [
        (None, None, Some("needs `last`")),
        (Some(0), Some(1), Some("a bound of 0")),
        (Some(1), Some(0), Some("a bound of 0")),
        (Some(DEDUP_LAST_MAX + 1), None, Some("at most 10000000")),
        (Some(1), None, None),
        (None, Some(1), None),
        (Some(DEDUP_LAST_MAX), Some(u64::MAX), None),
    ] {
        let mut transform = transform("x", 1, "a", "b");
        transform.spec.dedup = Some(LookBack { last, age_ms });

        let Some(words) = words else {
            assert_eq!(check(&transform.name, &transform.spec, &observed), Ok(()));
            continue;
        };
        let error = refused(&transform, &observed);
        assert!(error.starts_with("spec.dedup: "), "{error}");
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn a_transform_that_would_feed_itself_is_refused_with_the_way() {
    let mut observed = observed();
    observed.insert_transform(transform("y", 1, "b", "c"));
    observed.insert_transform(transform("z", 2, "c", "a"));

    let error = refused(&transform("x", 3, "a", "b"), &observed);

    let way = "a -> (transform x) -> b -> (transform y) -> c -> (transform z) -> a";
    assert!(error.contains(way), "{error}");
    let same = transform("z", 2, "c", "a");
    assert_eq!(
        check(&same.name, &same.spec, &observed),
        Ok(()),
        "what it was itself is not in its way"
    );
}

#[test]
fn who_reads_and_who_writes_a_topic_is_known() {
    let mut observed = observed();
    let mut x = transform("x", 1, "a", "b");
    x.spec.chain.steps[0].on_error = OnError::DeadLetter("e".parse().unwrap());
    x.spec.tables = topics("d");
    observed.insert_transform(x);
    let user = |topic: &str| {
        let topic = topic.parse().unwrap();
        user_of(&topic, &observed).map(|(name, how)| (name.to_string(), how))
    };

    assert_eq!(user("a"), Some(("x".to_owned(), TopicUse::Reads)));
    assert_eq!(user("b"), Some(("x".to_owned(), TopicUse::Writes)));
    assert_eq!(user("e"), Some(("x".to_owned(), TopicUse::Writes)));
    assert_eq!(user("d"), Some(("x".to_owned(), TopicUse::LooksUp)));
    assert_eq!(user("c"), None);
    let told = TopicUse::LooksUp.told(&"x".parse().unwrap(), &"d".parse().unwrap());
    assert_eq!(told, "topic `d` is a table of transform `x`");
}

impl Observed {
    pub(crate) fn insert_transform(&mut self, transform: Transform) {
        self.transforms.insert(transform.name.clone(), transform);
    }
}

/// `a` gets two partitions.
fn with_canary(percent: u8, step: StepSpec) -> (Observed, Transform) {
    let mut observed = observed();
    let input = observed.topics.get_mut(&"a".parse().unwrap()).unwrap();
    input.spec.placement = ReplicaPlacement::Computed {
        partitions: 2,
        replication_factor: 1,
    };
    let mut transform = transform("x", 1, "a", "b");
    transform.spec.canary = Some(CanarySpec {
        percent,
        chain: ChainSpec { steps: vec![step] },
    });
    (observed, transform)
}

#[test]
fn a_canary_is_checked_as_the_chain_is() {
    let (observed, fits) = with_canary(50, late());
    assert_eq!(check(&fits.name, &fits.spec, &observed), Ok(()));

    let named = |uses: &str| StepSpec {
        uses: uses.parse().unwrap(),
        ..late()
    };
    for (percent, step, expected) in [
        (0, late(), "spec.canary: is 0%, 1% to 99% are allowed"),
        (100, late(), "spec.canary: is 100%, 1% to 99%"),
        (50, named("lost"), "spec.canary.chain.steps[0]: "),
        (
            50,
            named("sum"),
            "keeps its state without an aggregate, and",
        ),
    ] {
        let (observed, transform) = with_canary(percent, step);
        let error = refused(&transform, &observed);
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn one_partition_is_too_few_for_a_canary() {
    let (mut observed, transform) = with_canary(50, late());
    let input = observed.topics.get_mut(&"a".parse().unwrap()).unwrap();
    input.spec.placement = ReplicaPlacement::Computed {
        partitions: 1,
        replication_factor: 1,
    };

    let error = refused(&transform, &observed);

    assert!(error.contains("topic `a` has one partition"), "{error}");
}

#[test]
fn what_a_canary_writes_is_written_by_the_transform() {
    let mut letters = late();
    letters.on_error = OnError::DeadLetter("e".parse().unwrap());
    let (mut observed, trying) = with_canary(50, letters);
    observed.insert_transform(trying);

    let user = user_of(&"e".parse().unwrap(), &observed);

    assert_eq!(user.map(|(_, used)| used), Some(TopicUse::Writes));
    let back = transform("y", 2, "e", "a");
    let error = refused(&back, &observed);
    assert!(error.contains("records would go round for ever"), "{error}");
}

fn with_backfill(outputs: &str, step: StepSpec) -> Transform {
    let mut transform = transform("x", 1, "a", "b");
    transform.spec.backfill = Some(BackfillSpec {
        chain: ChainSpec { steps: vec![step] },
        outputs: topics(outputs),
        start: StartPosition::Beginning,
    });
    transform
}

#[test]
fn a_backfill_is_checked_as_a_transform_of_its_own() {
    let observed = observed();
    let sum = || StepSpec {
        uses: "sum".parse().unwrap(),
        ..late()
    };
    for fits in [with_backfill("c", late()), with_backfill("c", sum())] {
        assert_eq!(check(&fits.name, &fits.spec, &observed), Ok(()));
        assert!(!keeps_state(&fits.spec, &observed), "its state is its own");
    }
    let lost = StepSpec {
        uses: "lost".parse().unwrap(),
        ..late()
    };
    let mut several = with_backfill("c", sum());
    several.spec.inputs = topics("a d");
    for (transform, expected) in [
        (
            with_backfill("c d", late()),
            "spec.backfill.outputs: has 2 topics for 1 outputs",
        ),
        (
            with_backfill("lost", late()),
            "spec.backfill.outputs[0]: topic `lost`",
        ),
        (with_backfill("a", late()), "the transform uses `a` already"),
        (with_backfill("b", late()), "the transform uses `b` already"),
        (with_backfill("c", lost), "spec.backfill.chain.steps[0]: "),
        (several, "spec.inputs: a transform that keeps state has one"),
    ] {
        let error = refused(&transform, &observed);
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn what_a_backfill_writes_is_in_use_and_may_lead_back() {
    let mut observed = observed();
    observed.insert_transform(with_backfill("c", late()));

    let user = user_of(&"c".parse().unwrap(), &observed);

    assert_eq!(user.map(|(_, used)| used), Some(TopicUse::Writes));
    let error = refused(&transform("y", 2, "c", "a"), &observed);
    assert!(error.contains("records would go round for ever"), "{error}");
}
