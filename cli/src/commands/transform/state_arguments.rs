//! The options that say what a transform keeps from one record to the next.
//!
//! What they say of an aggregate goes to the one of the chain: which of the modules that is, the cluster knows.

use std::time::Duration;

use anyhow::anyhow;
use thalweg_client::Admin;
use thalweg_client::resource::SmartModuleKind;
use thalweg_types::{AggregateSpec, LateRecords, LookBack, WindowShape, parse_duration};

use crate::error::CliError;
use crate::smartmodule_arguments::{Accumulating, AggregateArguments};
use crate::transforms::{Transform, Uses, WindowForm};

/// What a transform keeps.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "State")]
pub(super) struct StateArguments {
    #[command(flatten)]
    accumulating: AggregateArguments,

    /// Let the aggregate accumulate in windows over the records' timestamps: tumbling:SIZE,
    /// hopping:SIZE:ADVANCE or session:GAP, for example tumbling:5m. Each comes out once, when it is
    /// closed.
    #[arg(long, value_name = "WINDOW")]
    window: Option<WindowShape>,

    /// How long after its end a window still takes records.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, requires = "window")]
    lateness: Option<Duration>,

    /// What becomes of records that come later: drop, or fail, for --on-error to say. Default: drop.
    #[arg(long, value_name = "POLICY", requires = "window")]
    late: Option<LateRecords>,

    /// Leave out records of which one with the same key came before: last=N among the last N that
    /// were kept, age=DURATION within so long a time by their timestamps, or both with a comma
    /// in between.
    #[arg(long, value_name = "BOUNDS")]
    pub(super) dedup: Option<LookBack>,
}

impl StateArguments {
    /// How the aggregate accumulates, where anything is said of that.
    ///
    /// # Errors
    /// When a file can't be read or is no text.
    pub(super) fn aggregate(&self) -> Result<Option<AggregateSpec>, CliError> {
        let accumulating = self.accumulating.of_chain(&[])?;
        let window = WindowForm {
            shape: self.window,
            lateness: self.lateness,
            late: self.late,
        };
        let window = window.into_spec().map_err(CliError::usage)?;
        if accumulating == Accumulating::default() && window.is_none() {
            return Ok(None);
        }
        let Accumulating { initial, by_key } = accumulating;
        let initial = String::from_utf8(initial.unwrap_or_default().into()).map_err(|_| {
            let error = anyhow!("--aggregate-initial is no text in UTF-8");
            CliError::usage(error).next_step("let the aggregate begin with a text")
        })?;
        Ok(Some(AggregateSpec {
            initial,
            by_key,
            window,
        }))
    }
}

/// Gives `aggregate` to the aggregate of `chain`, whose modules are registered.
///
/// # Errors
/// When the cluster can't be asked, or the chain has no aggregate.
pub(super) async fn give_to_aggregate(
    chain: &mut [Transform],
    aggregate: AggregateSpec,
    admin: &Admin,
) -> Result<(), CliError> {
    for step in chain {
        let Uses::Registered(uses) = &step.uses else {
            continue;
        };
        let module = admin.describe_smart_module(&uses.name).await?.module;
        // One that is not there is the SC's to complain of.
        let revision = module.spec.resolve(uses);
        if revision.is_ok_and(|revision| revision.kind == SmartModuleKind::Aggregate) {
            step.aggregate = Some(aggregate);
            return Ok(());
        }
    }
    let error = anyhow!(
        "--aggregate-initial, --aggregate-by-key and --window are for an aggregate, and the chain has none"
    );
    Err(CliError::usage(error).next_step("name an aggregate, or leave them out"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use thalweg_types::WindowSpec;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        state: StateArguments,
    }

    fn state(line: &str) -> Result<StateArguments, String> {
        let words = ["test"].into_iter().chain(line.split_whitespace());
        let line = Line::try_parse_from(words);
        line.map(|line| line.state)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_said_of_an_aggregate_is_its_spec() {
        let line = "--aggregate-initial 0 --aggregate-by-key --window tumbling:5m --lateness 10s --late fail";

        let aggregate = state(line).unwrap().aggregate().unwrap();

        let expected = AggregateSpec {
            initial: "0".to_owned(),
            by_key: true,
            window: Some(WindowSpec {
                shape: WindowShape::Tumbling { size_ms: 300_000 },
                lateness_ms: 10_000,
                late: LateRecords::Fail,
            }),
        };
        assert_eq!(aggregate, Some(expected));
        let nothing = state("--dedup last=5").unwrap().aggregate().unwrap();
        assert_eq!(nothing, None);
    }

    #[test]
    fn duplicates_are_known_by_one_bound_or_two() {
        for (text, last, age_ms) in [
            ("last=1000", Some(1_000), None),
            ("age=1h", None, Some(3_600_000)),
            ("age=1h,last=1000", Some(1_000), Some(3_600_000)),
        ] {
            let state = state(&format!("--dedup {text}")).unwrap();
            assert_eq!(state.dedup, Some(LookBack { last, age_ms }));
        }
    }

    #[test]
    fn what_means_nothing_is_refused_with_what_would_do() {
        for (line, expected) in [
            ("--window daily", "tumbling:<size>"),
            ("--lateness 10s", "--window"),
            ("--late fail", "--window"),
            ("--window session:1m --late keep", "`drop` or `fail`"),
            ("--dedup 1000", "last=1000,age=1h"),
            ("--dedup last=1,last=2", "last=1000,age=1h"),
            ("--dedup last=many", "`last=many`: invalid digit"),
            ("--dedup age=soon", "not a duration"),
        ] {
            let error = state(line).unwrap_err();
            assert!(error.contains(expected), "{line}: {error}");
        }
    }
}
