//! What a transform may be, as topics, SmartModules and other transforms are now. Pure.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use thalweg_proto::InvalidField;
use thalweg_types::resource::{CanarySpec, SmartModuleKind, TopicState, Transform, TransformSpec};
use thalweg_types::{
    ChainSpec, CleanupPolicy, DEDUP_LAST_MAX, LookBack, OnError, ResourceName, StepSpec, TopicName,
    WindowShape, format_duration_ms,
};

use super::{capabilities, cycle, kept_state};
use crate::modules::chain_step::{check_params, dead_letter_topic, registered};
use crate::modules::rules::check_place_in_transform;
use crate::state::Observed;

/// What is wrong with a transform, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Problem {
    /// With its inputs, outputs or tables.
    Topics { field: String, reason: String },
    /// With a step of a chain, counted from 0.
    Step {
        place: ChainPlace,
        index: usize,
        reason: String,
    },
    /// With a chain as a whole.
    Chain { place: ChainPlace, reason: String },
    /// With where another chain is tried.
    Canary { reason: String },
    /// With which records count as duplicates.
    Dedup { reason: String },
    /// With what its modules may do, in this field of it.
    Capabilities { field: String, reason: String },
    /// What it writes comes back to it.
    Cycle(cycle::Cycle),
}

/// Which of a transform's chains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChainPlace {
    /// The one that it runs.
    Own,
    /// The one that some partitions run.
    Canary,
    /// The one that runs into other outputs.
    Backfill,
}

impl ChainPlace {
    fn field(self) -> &'static str {
        match self {
            Self::Own => "chain",
            Self::Canary => "canary.chain",
            Self::Backfill => "backfill.chain",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Own => "the chain",
            Self::Canary => "the canary's chain",
            Self::Backfill => "the backfill's chain",
        }
    }
}

impl Problem {
    /// As a status says it.
    pub(super) fn for_people(self) -> String {
        match self {
            Self::Topics { field, reason } => format!("{field}: {reason}"),
            Self::Step {
                place,
                index,
                reason,
            } => format!("step {} of {}: {reason}", index + 1, place.words()),
            Self::Chain { place, reason } => format!("{} {reason}", place.words()),
            Self::Canary { reason } => format!("canary: {reason}"),
            Self::Dedup { reason } => format!("dedup {reason}"),
            Self::Capabilities { field, reason } => format!("capabilities.{field}: {reason}"),
            Self::Cycle(cycle) => goes_round(&cycle),
        }
    }
}

impl From<Problem> for InvalidField {
    fn from(problem: Problem) -> Self {
        match problem {
            Problem::Topics { field, reason } => Self::new(format!("spec.{field}"), reason),
            Problem::Step {
                place,
                index,
                reason,
            } => Self::new(format!("spec.{}.steps[{index}]", place.field()), reason),
            Problem::Chain { place, reason } => {
                Self::new(format!("spec.{}", place.field()), reason)
            }
            Problem::Canary { reason } => Self::new("spec.canary", reason),
            Problem::Dedup { reason } => Self::new("spec.dedup", reason),
            Problem::Capabilities { field, reason } => {
                Self::new(format!("spec.capabilities.{field}"), reason)
            }
            Problem::Cycle(cycle) => Self::new("spec.outputs", goes_round(&cycle)),
        }
    }
}

fn goes_round(cycle: &cycle::Cycle) -> String {
    format!("records would go round for ever: {cycle}; write to a topic that does not lead back")
}

/// Checks the spec of transform `name` against all that there is.
pub(crate) fn check(
    name: &ResourceName,
    spec: &TransformSpec,
    observed: &Observed,
) -> Result<(), InvalidField> {
    let others = observed.transforms.values();
    let others = others.filter(|other| other.name != *name);
    match problem(name, spec, observed, others) {
        None => Ok(()),
        Some(problem) => Err(problem.into()),
    }
}

/// What is wrong with transform `name` beside `others`.
pub(super) fn problem<'a>(
    name: &ResourceName,
    spec: &TransformSpec,
    observed: &Observed,
    others: impl IntoIterator<Item = &'a Transform>,
) -> Option<Problem> {
    let several = 1..=TransformSpec::TOPICS_MAX;
    topics_problem("inputs", &spec.inputs, several.clone(), observed)
        .or_else(|| topics_problem("outputs", &spec.outputs, several, observed))
        .or_else(|| shared_topic(spec))
        .or_else(|| tables_problem(spec, observed))
        .or_else(|| chain_problem(ChainPlace::Own, &spec.chain, &spec.inputs, observed))
        .or_else(|| canary_problem(spec, observed))
        .or_else(|| dedup_problem(spec))
        .or_else(|| capabilities_problem(spec, observed))
        .or_else(|| several_inputs(spec, observed))
        .or_else(|| backfill_problem(spec, observed))
        .or_else(|| cycle::find(name, spec, others).map(Problem::Cycle))
}

fn topics_problem(
    field: &str,
    topics: &[TopicName],
    counts: RangeInclusive<usize>,
    observed: &Observed,
) -> Option<Problem> {
    let problem = |field: String, reason: String| Some(Problem::Topics { field, reason });
    if !counts.contains(&topics.len()) {
        let (from, to) = counts.into_inner();
        let reason = format!("has {} topics, {from} to {to} are allowed", topics.len());
        return problem(field.to_owned(), reason);
    }
    let mut seen = BTreeSet::new();
    for (index, topic) in topics.iter().enumerate() {
        let refuse = |reason: String| problem(format!("{field}[{index}]"), reason);
        if !seen.insert(topic) {
            return refuse(format!("`{topic}` is named twice; name each topic once"));
        }
        if topic.is_internal() {
            return refuse(format!("`{topic}` is one of the cluster's own topics"));
        }
        match observed.topics.get(topic) {
            None => {
                return refuse(format!(
                    "topic `{topic}` does not exist: create it with `thalweg topic create {topic}`"
                ));
            }
            Some(stored) if stored.status.state == TopicState::Deleting => {
                return refuse(format!("topic `{topic}` is being deleted"));
            }
            Some(_) => {}
        }
    }
    None
}

/// A transform that reads what it writes would never come to an end.
fn shared_topic(spec: &TransformSpec) -> Option<Problem> {
    let mut outputs = spec.outputs.iter().enumerate();
    let (index, output) = outputs.find(|(_, output)| spec.inputs.contains(output))?;
    Some(Problem::Topics {
        field: format!("outputs[{index}]"),
        reason: format!("`{output}` is an input, too: write to another topic"),
    })
}

fn tables_problem(spec: &TransformSpec, observed: &Observed) -> Option<Problem> {
    let counts = 0..=TransformSpec::TABLES_MAX;
    topics_problem("tables", &spec.tables, counts, observed).or_else(|| {
        let mut tables = spec.tables.iter().enumerate();
        tables.find_map(|(index, table)| {
            let reason = check_table(table, spec, observed).err()?;
            let field = format!("tables[{index}]");
            Some(Problem::Topics { field, reason })
        })
    })
}

fn check_table(table: &TopicName, spec: &TransformSpec, observed: &Observed) -> Result<(), String> {
    if spec.inputs.contains(table) {
        return Err(format!(
            "`{table}` is an input, too: look keys up in another topic"
        ));
    }
    // Of what it wrote itself a record would see more or less, as it happens.
    if spec.written_topics().any(|written| written == table) {
        return Err(format!(
            "the transform writes `{table}`, too: look keys up in another topic"
        ));
    }
    let stored = observed.topics.get(table);
    let policy = stored.map(|topic| topic.spec.config.cleanup_policy());
    // What retention deletes would be gone from the log, and not from the tables that SPUs hold.
    if policy.is_some_and(|policy| policy != CleanupPolicy::Compact) {
        return Err(format!(
            "`{table}` is not compacted alone: make it with `--config cleanup.policy=compact`"
        ));
    }
    Ok(())
}

fn chain_problem(
    place: ChainPlace,
    chain: &ChainSpec,
    inputs: &[TopicName],
    observed: &Observed,
) -> Option<Problem> {
    let count = chain.steps.len();
    if !(1..=ChainSpec::STEPS_MAX).contains(&count) {
        let reason = format!(
            "has {count} steps, 1 to {} are allowed",
            ChainSpec::STEPS_MAX
        );
        return Some(Problem::Chain { place, reason });
    }
    let mut steps = chain.steps.iter().enumerate();
    let step = steps.find_map(|(index, step)| {
        let reason = check_step(step, inputs, observed).err()?;
        Some(Problem::Step {
            place,
            index,
            reason,
        })
    });
    step.or_else(|| second_aggregate(place, chain, observed))
}

fn canary_problem(spec: &TransformSpec, observed: &Observed) -> Option<Problem> {
    let canary = spec.canary.as_ref()?;
    let refuse = |reason: String| Some(Problem::Canary { reason });
    let percents = CanarySpec::PERCENT_MIN..=CanarySpec::PERCENT_MAX;
    if !percents.contains(&canary.percent) {
        let (from, to) = percents.into_inner();
        let percent = canary.percent;
        return refuse(format!("is {percent}%, {from}% to {to}% are allowed"));
    }
    if let Some(input) = only_partitions(spec, observed) {
        return refuse(format!(
            "topic `{input}` has one partition, so a canary would be all of it: try the chain with `thalweg transform backfill`, or update the transform"
        ));
    }
    let chain = chain_problem(ChainPlace::Canary, &canary.chain, &spec.inputs, observed);
    // A partition may go from one chain to the other at any time, with what it has kept.
    chain.or_else(|| {
        let how = kept_state::kept_otherwise_by(&canary.chain, spec, observed)?;
        refuse(format!(
            "the transform keeps its state {how}, and the canary's chain would not: deploy another transform for it"
        ))
    })
}

fn backfill_problem(spec: &TransformSpec, observed: &Observed) -> Option<Problem> {
    let (backfill, switched) = (spec.backfill.as_ref()?, spec.switched()?);
    let field = "backfill.outputs";
    let count = spec.outputs.len();
    if backfill.outputs.len() != count {
        let given = backfill.outputs.len();
        return Some(Problem::Topics {
            field: field.to_owned(),
            reason: format!(
                "has {given} topics for {count} outputs: name one for each, in their order"
            ),
        });
    }
    topics_problem(field, &backfill.outputs, count..=count, observed)
        .or_else(|| {
            let mut outputs = backfill.outputs.iter().enumerate();
            let (index, output) = outputs.find(|(_, output)| is_used(spec, output))?;
            Some(Problem::Topics {
                field: format!("{field}[{index}]"),
                reason: format!(
                    "the transform uses `{output}` already: let the backfill write to a topic of its own"
                ),
            })
        })
        .or_else(|| chain_problem(ChainPlace::Backfill, &switched.chain, &spec.inputs, observed))
        .or_else(|| capabilities_problem(&switched, observed))
        .or_else(|| several_inputs(&switched, observed))
}

/// Whether the transform, its backfill apart, reads or writes `topic`.
fn is_used(spec: &TransformSpec, topic: &TopicName) -> bool {
    let mut written = spec.chains().flat_map(|chain| spec.written_by(chain));
    written.any(|written| written == topic) || spec.read_topics().any(|read| read == topic)
}

/// The first input, where each has one partition only.
fn only_partitions<'a>(spec: &'a TransformSpec, observed: &Observed) -> Option<&'a TopicName> {
    let has_one = |input: &TopicName| {
        let topic = observed.topics.get(input);
        topic.is_some_and(|topic| topic.spec.placement.partition_count() == 1)
    };
    let all_have_one = spec.inputs.iter().all(has_one);
    spec.inputs.first().filter(|_| all_have_one)
}

fn check_step(step: &StepSpec, inputs: &[TopicName], observed: &Observed) -> Result<(), String> {
    let revision = registered(step, observed)?;
    check_place_in_transform(step, revision)
        .map_err(|misplaced| format!("`{}` {misplaced}", step.uses))?;
    let window = step.aggregate.as_ref().and_then(|of| of.window);
    if let Some(window) = window.filter(|window| window.lateness_ms > WindowShape::MS_MAX) {
        return Err(format!(
            "the lateness of {} is longer than the hundred years that are allowed",
            format_duration_ms(window.lateness_ms)
        ));
    }
    if step.look_back.is_some() {
        return Err(
            "a transform does not look back: keep state with an aggregate or with dedup instead"
                .to_owned(),
        );
    }
    check_params(step, revision)?;
    let OnError::DeadLetter(letters) = &step.on_error else {
        return Ok(());
    };
    dead_letter_topic(letters, observed)?;
    if inputs.contains(letters) {
        return Err(format!(
            "the dead-letter topic `{letters}` is an input: records that fail would fail there again"
        ));
    }
    Ok(())
}

/// An engine has room for the accumulators of one.
fn second_aggregate(place: ChainPlace, chain: &ChainSpec, observed: &Observed) -> Option<Problem> {
    let mut aggregates = aggregates(chain, observed);
    let (first, second) = (aggregates.next()?, aggregates.next()?);
    Some(Problem::Step {
        place,
        index: second,
        reason: format!(
            "a chain keeps one aggregate: steps {} and {} are both aggregates; deploy a second transform on the first one's output",
            first + 1,
            second + 1
        ),
    })
}

fn dedup_problem(spec: &TransformSpec) -> Option<Problem> {
    let LookBack { last, age_ms } = spec.dedup?;
    let reason = match (last, age_ms) {
        (None, None) => "needs `last`, `age` or both: what it remembers keys by".to_owned(),
        (Some(0), _) | (_, Some(0)) => {
            "remembers nothing with a bound of 0: leave the bound out, or `dedup`".to_owned()
        }
        (Some(last), _) if last > DEDUP_LAST_MAX => {
            format!("remembers the last {last} records, at most {DEDUP_LAST_MAX} are allowed")
        }
        _ => return None,
    };
    Some(Problem::Dedup { reason })
}

fn capabilities_problem(spec: &TransformSpec, observed: &Observed) -> Option<Problem> {
    let aggregate = aggregates(&spec.chain, observed).next();
    let (field, reason) = capabilities::problem(spec, aggregate)?;
    Some(Problem::Capabilities { field, reason })
}

/// State is kept for each partition of the input, under the partition's number alone.
fn several_inputs(spec: &TransformSpec, observed: &Observed) -> Option<Problem> {
    let count = spec.inputs.len();
    (count > 1 && keeps_state(spec, observed)).then(|| Problem::Topics {
        field: "inputs".to_owned(),
        reason: format!(
            "a transform that keeps state has one input: this one has {count}; deploy a transform that brings its inputs together first"
        ),
    })
}

/// Whether it keeps something from one record to the next, and so has a changelog. One whose modules are not
/// all registered may keep more than is known.
pub(crate) fn keeps_state(spec: &TransformSpec, observed: &Observed) -> bool {
    spec.dedup.is_some()
        || spec.capabilities.keep_state()
        || spec
            .chains()
            .any(|chain| aggregates(chain, observed).next().is_some())
}

/// The steps that are aggregates, counted from 0.
pub(super) fn aggregates(chain: &ChainSpec, observed: &Observed) -> impl Iterator<Item = usize> {
    let steps = chain.steps.iter().enumerate();
    steps
        .filter(|(_, step)| {
            registered(step, observed)
                .is_ok_and(|revision| revision.kind == SmartModuleKind::Aggregate)
        })
        .map(|(index, _)| index)
}

/// How a transform uses a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TopicUse {
    Reads,
    Writes,
    LooksUp,
}

impl TopicUse {
    /// What `transform` does with `topic`, as an error says it.
    pub(crate) fn told(self, transform: &ResourceName, topic: &TopicName) -> String {
        match self {
            Self::Reads => format!("transform `{transform}` reads topic `{topic}`"),
            Self::Writes => format!("transform `{transform}` writes topic `{topic}`"),
            Self::LooksUp => format!("topic `{topic}` is a table of transform `{transform}`"),
        }
    }
}

/// A transform that reads, may write or looks keys up in `topic`.
pub(crate) fn user_of<'a>(
    topic: &TopicName,
    observed: &'a Observed,
) -> Option<(&'a ResourceName, TopicUse)> {
    observed.transforms.values().find_map(|transform| {
        let spec = &transform.spec;
        if spec.inputs.contains(topic) {
            return Some((&transform.name, TopicUse::Reads));
        }
        if spec.written_topics().any(|written| written == topic) {
            return Some((&transform.name, TopicUse::Writes));
        }
        let looks_up = spec.tables.contains(topic);
        looks_up.then_some((&transform.name, TopicUse::LooksUp))
    })
}

#[cfg(test)]
pub(crate) mod tests;
