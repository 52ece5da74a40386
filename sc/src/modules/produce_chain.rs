//! What a topic's chain may be: registered SmartModules that can stand before the log. Pure.

use thalweg_proto::InvalidField;
use thalweg_types::{ChainSpec, OnError, StepSpec, TopicName};

use super::chain_step::{check_params, dead_letter_topic, registered};
use super::rules::check_place;
use crate::state::Observed;

/// Checks the chain of topic `name` against what is registered.
pub(crate) fn check_produce_chain(
    name: &TopicName,
    chain: &ChainSpec,
    observed: &Observed,
) -> Result<(), InvalidField> {
    let field = "spec.produce_chain";
    if chain.steps.len() > ChainSpec::STEPS_MAX {
        let reason = format!(
            "has {} steps, {} are allowed",
            chain.steps.len(),
            ChainSpec::STEPS_MAX
        );
        return Err(InvalidField::new(field, reason));
    }
    for (index, step) in chain.steps.iter().enumerate() {
        let is_last = index + 1 == chain.steps.len();
        check_step(name, step, is_last, observed)
            .map_err(|reason| InvalidField::new(format!("{field}.steps[{index}]"), reason))?;
    }
    Ok(())
}

/// Why producers to topic `name` are refused; `None` where they are not. A chain may come about that was never
/// checked, where topics are written by others than this SC.
pub(crate) fn problem(name: &TopicName, chain: &ChainSpec, observed: &Observed) -> Option<String> {
    let mut steps = chain.steps.iter().enumerate();
    steps.find_map(|(index, step)| {
        let is_last = index + 1 == chain.steps.len();
        let reason = check_step(name, step, is_last, observed).err()?;
        let number = index + 1;
        Some(format!(
            "producers are refused because of step {number} of the produce chain: {reason}"
        ))
    })
}

fn check_step(
    topic: &TopicName,
    step: &StepSpec,
    is_last: bool,
    observed: &Observed,
) -> Result<(), String> {
    let revision = registered(step, observed)?;
    check_place(step, revision, is_last)
        .map_err(|misplaced| format!("`{}` {misplaced}", step.uses))?;
    if step
        .aggregate
        .as_ref()
        .is_some_and(|of| of.window.is_some())
    {
        return Err(format!(
            "`{}` has windows, which only transforms have: leave `window` out, or deploy a transform that reads the topic",
            step.uses
        ));
    }
    check_params(step, revision)?;
    match &step.on_error {
        OnError::DeadLetter(letters) => check_dead_letters(topic, letters, observed),
        OnError::Stop | OnError::Skip => Ok(()),
    }
}

/// A topic that takes dead letters has none of its own: two that write to each other would wait for
/// each other.
fn check_dead_letters(
    topic: &TopicName,
    letters: &TopicName,
    observed: &Observed,
) -> Result<(), String> {
    if letters == topic {
        return Err(format!(
            "the dead-letter topic is `{topic}` itself: records that fail would fail there again"
        ));
    }
    let taker = dead_letter_topic(letters, observed)?;
    if dead_letter_topics(&taker.spec.produce_chain)
        .next()
        .is_some()
    {
        return Err(format!(
            "the chain of the dead-letter topic `{letters}` has dead letters of its own"
        ));
    }
    let giver = observed
        .topics
        .values()
        .find(|other| dead_letter_topics(&other.spec.produce_chain).any(|taker| taker == topic));
    match giver {
        Some(giver) => Err(format!(
            "`{topic}` takes the dead letters of `{}`, so its own chain can't have any",
            giver.name
        )),
        None => Ok(()),
    }
}

fn dead_letter_topics(chain: &ChainSpec) -> impl Iterator<Item = &TopicName> {
    chain.steps.iter().filter_map(|step| match &step.on_error {
        OnError::DeadLetter(letters) => Some(letters),
        OnError::Stop | OnError::Skip => None,
    })
}

#[cfg(test)]
mod tests {
    use thalweg_types::resource::{
        ModuleParam, ModuleRevision, ReplicaPlacement, ResourceVersion, SmartModule,
        SmartModuleKind, SmartModuleSpec, Topic, TopicSpec, TopicState, TopicStatus,
    };
    use thalweg_types::{
        AggregateSpec, LateRecords, LookBack, Offset, TopicConfig, TopicId, WindowShape, WindowSpec,
    };
    use uuid::Uuid;

    use super::*;

    /// A filter `late` that looks back, a filter `blind`, and an aggregate `sum`; all need `minutes`.
    fn observed() -> Observed {
        let mut observed = Observed::default();
        for (name, kind) in [
            ("late", SmartModuleKind::Filter),
            ("blind", SmartModuleKind::Filter),
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
                looks_back: name == "late",
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
        let mut with_letters = late();
        with_letters.on_error = OnError::DeadLetter("failed".parse().unwrap());
        for (name, steps) in [
            ("failed", vec![late()]),
            ("giver", vec![with_letters.clone()]),
            ("flights", Vec::new()),
        ] {
            let topic = Topic {
                name: name.parse().unwrap(),
                id: TopicId(Uuid::nil()),
                spec: TopicSpec {
                    placement: ReplicaPlacement::Assigned(Vec::new()),
                    config: TopicConfig::default(),
                    produce_chain: ChainSpec { steps },
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

    fn late() -> StepSpec {
        StepSpec {
            uses: "late".parse().unwrap(),
            with: [("minutes".to_owned(), "60".to_owned())].into(),
            look_back: None,
            on_error: OnError::Skip,
            aggregate: None,
        }
    }

    fn check(steps: Vec<StepSpec>) -> Result<(), String> {
        let topic = "flights".parse().unwrap();
        check_produce_chain(&topic, &ChainSpec { steps }, &observed())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn registered_modules_with_what_they_need_are_a_chain() {
        let mut pinned = late();
        pinned.uses = "late@1.0.0".parse().unwrap();
        pinned.on_error = OnError::DeadLetter("failed".parse().unwrap());

        assert_eq!(check(Vec::new()), Ok(()));
        assert_eq!(check(vec![late(), pinned]), Ok(()));
        let mut looking_back = late();
        looking_back.look_back = Some(LookBack::default());
        let mut sum = late();
        sum.uses = "sum".parse().unwrap();
        assert_eq!(check(vec![looking_back, sum.clone()]), Ok(()));
        sum.aggregate = Some(AggregateSpec::default());
        assert_eq!(check(vec![sum]), Ok(()));
        assert_eq!(check(vec![late(); ChainSpec::STEPS_MAX]), Ok(()));
    }

    #[test]
    fn what_can_not_stand_before_the_log_is_refused_by_its_place() {
        let with = |change: fn(&mut StepSpec)| {
            let mut step = late();
            change(&mut step);
            check(vec![late(), step]).unwrap_err()
        };
        let cases = [
            (
                with(|step| step.uses = "lost".parse().unwrap()),
                "no SmartModule `lost`",
            ),
            (
                with(|step| step.uses = "late@2.0.0".parse().unwrap()),
                "it has 1.0.0",
            ),
            (
                with(|step| step.aggregate = Some(AggregateSpec::default())),
                "`late` is no aggregate",
            ),
            (
                with(|step| step.with.clear()),
                "needs the parameter `minutes`",
            ),
            (
                with(|step| {
                    step.uses = "blind".parse().unwrap();
                    step.look_back = Some(LookBack::default());
                }),
                "does not look back",
            ),
            (
                with(|step| step.on_error = OnError::DeadLetter("flights".parse().unwrap())),
                "itself",
            ),
            (
                with(|step| step.on_error = OnError::DeadLetter("__own".parse().unwrap())),
                "the cluster's own",
            ),
            (
                with(|step| step.on_error = OnError::DeadLetter("lost".parse().unwrap())),
                "topic create lost",
            ),
            (
                with(|step| step.on_error = OnError::DeadLetter("giver".parse().unwrap())),
                "dead letters of its own",
            ),
        ];

        for (error, words) in cases {
            assert!(
                error.starts_with("spec.produce_chain.steps[1]: "),
                "{error}"
            );
            assert!(error.contains(words), "{error}");
        }
        let mut letters = late();
        letters.on_error = OnError::DeadLetter("flights".parse().unwrap());
        let chain = ChainSpec {
            steps: vec![letters],
        };
        let taker = "failed".parse().unwrap();
        let taker = check_produce_chain(&taker, &chain, &observed()).unwrap_err();
        assert!(taker.to_string().contains("of `giver`"), "{taker}");
        let mut sum = late();
        sum.uses = "sum".parse().unwrap();
        let early = check(vec![sum, late()]).unwrap_err();
        assert!(early.contains("steps[0]: `sum` is an aggregate"), "{early}");
        let mut windowed = late();
        windowed.uses = "sum".parse().unwrap();
        windowed.aggregate = Some(AggregateSpec {
            window: Some(WindowSpec {
                shape: WindowShape::Session { gap_ms: 1_000 },
                lateness_ms: 0,
                late: LateRecords::Drop,
            }),
            ..AggregateSpec::default()
        });
        let windowed = check(vec![windowed]).unwrap_err();
        assert!(windowed.contains("only transforms have"), "{windowed}");
        let many = check(vec![late(); ChainSpec::STEPS_MAX + 1]).unwrap_err();
        assert!(many.contains("33 steps"), "{many}");
    }
}
