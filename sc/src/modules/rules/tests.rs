use thalweg_types::resource::{
    OutputPartitioning, ReplicaPlacement, ResourceVersion, StartPosition, TopicSpec, TopicState,
    TopicStatus, TransformNumber, TransformSpec, TransformStatus,
};
use thalweg_types::{
    ChainSpec, CompressionPolicy, LookBack, Offset, OnError, StepSpec, TopicConfig, TopicId,
};
use uuid::Uuid;

use super::*;

fn version(text: &str) -> ModuleVersion {
    text.parse().unwrap()
}

fn name() -> ResourceName {
    "late".parse().unwrap()
}

fn revision(number: &str, kind: SmartModuleKind) -> ModuleRevision {
    ModuleRevision {
        version: version(number),
        sha256: format!("hash of {number}"),
        kind,
        size_bytes: 1,
        description: String::new(),
        params: Vec::new(),
        looks_back: false,
        offset: Offset::ZERO,
        created_ms: 0,
    }
}

/// Filters of these versions, in the order of registration; the first is the current one.
fn spec(current: &str, versions: &[&str]) -> SmartModuleSpec {
    SmartModuleSpec {
        current: version(current),
        revisions: versions
            .iter()
            .map(|number| revision(number, SmartModuleKind::Filter))
            .collect(),
        leaving: false,
    }
}

fn topic(uses: &str) -> Topic {
    let step = StepSpec {
        uses: uses.parse().unwrap(),
        with: [].into(),
        look_back: None,
        on_error: OnError::Stop,
        aggregate: None,
    };
    Topic {
        name: "flights".parse().unwrap(),
        id: TopicId(Uuid::nil()),
        spec: TopicSpec {
            placement: ReplicaPlacement::Assigned(Vec::new()),
            config: TopicConfig::default(),
            produce_chain: ChainSpec { steps: vec![step] },
        },
        status: TopicStatus {
            state: TopicState::Provisioned,
            reason: String::new(),
        },
        version: ResourceVersion(1),
    }
}

fn of_topics(topics: Vec<Topic>) -> Users {
    Users {
        topics,
        transforms: Vec::new(),
    }
}

fn of_transform(uses: &str) -> Users {
    let transform = Transform {
        name: "late-flights".parse().unwrap(),
        number: TransformNumber(7),
        backfill_number: None,
        spec: TransformSpec {
            inputs: vec!["flights".parse().unwrap()],
            outputs: vec!["late".parse().unwrap()],
            chain: topic(uses).spec.produce_chain,
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
    };
    Users {
        topics: Vec::new(),
        transforms: vec![transform],
    }
}

#[test]
fn what_comes_without_a_version_gets_the_next_patch_of_the_newest() {
    let registering = |spec: Option<&SmartModuleSpec>| register(&name(), spec, None, "new bytes");

    assert_eq!(registering(None), Ok(Registering::Adds(version("0.1.0"))));
    let spec = spec("1.0.0", &["1.0.0", "1.1.4", "1.1.3"]);
    assert_eq!(
        registering(Some(&spec)),
        Ok(Registering::Adds(version("1.1.5")))
    );
}

#[test]
fn the_same_bytes_again_change_nothing_and_others_are_told_the_next_version() {
    let spec = spec("1.0.0", &["1.0.0", "1.1.0"]);
    let again = |number: Option<&str>, sha256: &str| {
        register(&name(), Some(&spec), number.map(version), sha256)
    };

    for number in [None, Some("1.0.0")] {
        assert_eq!(
            again(number, "hash of 1.0.0"),
            Ok(Registering::Exists(version("1.0.0")))
        );
    }
    let refused = again(Some("1.0.0"), "others").unwrap_err().to_string();
    assert!(refused.contains("the next is 1.1.1"), "{refused}");
}

#[test]
fn a_name_has_a_bounded_number_of_versions() {
    let versions: Vec<_> = (0..VERSIONS_MAX)
        .map(|patch| format!("1.0.{patch}"))
        .collect();
    let versions: Vec<_> = versions.iter().map(String::as_str).collect();
    let spec = spec("1.0.0", &versions);

    let refused = register(&name(), Some(&spec), None, "new bytes");

    assert_eq!(refused, Err(Refusal::TooManyVersions(name())));
}

#[test]
fn a_name_stands_for_a_new_version_only_when_that_is_higher() {
    let with = |number: &str| {
        let added = revision(number, SmartModuleKind::Filter);
        let spec = spec("1.1.0", &["1.1.0"]);
        with_revision(&name(), Some(spec), added, &Users::default())
            .unwrap()
            .current
    };

    assert_eq!(with("1.2.0"), version("1.2.0"));
    assert_eq!(with("1.0.1"), version("1.1.0"));
}

#[test]
fn a_version_does_not_become_what_a_topic_uses_where_it_can_not_stand() {
    let added = revision("2.0.0", SmartModuleKind::Aggregate);
    let add = |topics: Vec<Topic>| {
        let spec = spec("1.0.0", &["1.0.0"]);
        with_revision(&name(), Some(spec), added.clone(), &of_topics(topics))
    };
    let then_another = |uses: &str| {
        let mut topic = topic(uses);
        let steps = &mut topic.spec.produce_chain.steps;
        steps.push(StepSpec {
            uses: "other".parse().unwrap(),
            ..steps[0].clone()
        });
        topic
    };
    let mut looking_back = topic("late");
    looking_back.spec.produce_chain.steps[0].look_back = Some(LookBack::default());

    let early = add(vec![then_another("late")]).unwrap_err().to_string();
    assert!(early.contains("last step"), "{early}");
    assert!(early.contains("topic `flights`"), "{early}");
    let blind = add(vec![looking_back]).unwrap_err().to_string();
    assert!(blind.contains("does not look back"), "{blind}");
    assert!(
        add(vec![
            topic("late"),
            then_another("late@1.0.0"),
            topic("other")
        ])
        .is_ok()
    );
}

#[test]
fn a_version_that_a_topic_uses_stays_and_the_topic_is_named() {
    let spec = spec("1.1.0", &["1.0.0", "1.1.0"]);
    let delete = |number: &str, uses: &str| {
        without(
            &name(),
            &spec,
            &version(number),
            &of_topics(vec![topic(uses)]),
        )
    };

    let refused = delete("1.1.0", "late").unwrap_err().to_string();
    assert!(refused.contains("`flights`"), "{refused}");
    assert!(matches!(
        delete("1.0.0", "late@1.0.0"),
        Err(Refusal::InUse { .. })
    ));
    let left = delete("1.0.0", "late").unwrap().unwrap();
    assert_eq!(left.revisions.len(), 1);
    assert!(check_unused(&name(), &of_topics(vec![topic("late@1.0.0")])).is_err());
    assert!(check_unused(&name(), &of_topics(vec![topic("later")])).is_ok());
}

#[test]
fn a_module_that_a_transform_uses_stays_what_it_can_run() {
    let refused = check_unused(&name(), &of_transform("late@1.0.0")).unwrap_err();
    assert!(
        refused.to_string().contains("transform `late-flights`"),
        "{refused}"
    );

    let aggregate = revision("2.0.0", SmartModuleKind::Aggregate);
    let add = |uses: &str| {
        let spec = spec("1.0.0", &["1.0.0"]);
        with_revision(&name(), Some(spec), aggregate.clone(), &of_transform(uses))
    };
    let refused = add("late").unwrap_err().to_string();
    assert!(
        refused.contains("what the name stood for was none"),
        "{refused}"
    );
    assert!(refused.contains("transform `late-flights`"), "{refused}");
    assert!(add("late@1.0.0").is_ok());
}

#[test]
fn what_the_name_stands_for_goes_last() {
    let two = spec("1.1.0", &["1.0.0", "1.1.0"]);
    let refused = without(&name(), &two, &version("1.1.0"), &Users::default()).unwrap_err();
    assert!(matches!(refused, Refusal::IsCurrent { .. }));

    let one = spec("1.0.0", &["1.0.0"]);
    assert_eq!(
        without(&name(), &one, &version("1.0.0"), &Users::default()),
        Ok(None)
    );
}

#[test]
fn rolling_back_goes_to_what_was_registered_before_or_to_the_version_named() {
    let spec = spec("1.2.0", &["1.0.0", "1.1.0", "1.2.0"]);
    let back = |to: Option<&str>| {
        rolled_back(&name(), spec.clone(), to.map(version), &Users::default())
            .map(|spec| spec.current)
    };

    assert_eq!(back(None), Ok(version("1.1.0")));
    assert_eq!(back(Some("1.0.0")), Ok(version("1.0.0")));
    let unknown = back(Some("3.0.0")).unwrap_err().to_string();
    assert!(unknown.contains("it has 1.0.0, 1.1.0, 1.2.0"), "{unknown}");
}
