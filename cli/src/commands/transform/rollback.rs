//! `transform rollback`

use anyhow::anyhow;
use serde::Serialize;
use thalweg_client::resource::{Transform, TransformRevision, TransformSpec};
use thalweg_types::ResourceName;

use super::row::TransformRow;
use super::update::{modules_text, no_canary};
use crate::context::Context;
use crate::error::CliError;
use crate::output::{OutputArguments, Render};

/// Have a transform run what it ran before.
///
/// Chain, partitioning, compression, dedup, tables and capabilities become what they were. The modules stay at the versions
/// that they had then, also where they were named without one. What was written meanwhile stays.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  $ thalweg transform rollback late
  $ thalweg transform history late
  $ thalweg transform rollback late --to 3")]
pub(crate) struct RollbackArguments {
    /// Name of the transform.
    name: ResourceName,

    /// The revision to go back to, as `thalweg transform history` shows them. Default: the one before the newest.
    #[arg(long, value_name = "REVISION")]
    to: Option<u64>,

    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Serialize)]
struct TransformRolledBack {
    #[serde(flatten)]
    transform: TransformRow,
    /// What it went back to.
    rolled_back_to: u64,
}

impl Render for TransformRolledBack {
    fn render(&self) -> String {
        let TransformRow {
            name, transforms, ..
        } = &self.transform;
        let (modules, revision) = (modules_text(transforms), self.rolled_back_to);
        format!("transform `{name}` runs {modules}, as in revision {revision}")
    }
}

pub(super) async fn run(arguments: &RollbackArguments, context: &Context) -> Result<(), CliError> {
    let admin = context.client().await?.admin();
    let mut rolled_back_to = 0;
    let rolled_back = admin.change_transform(&arguments.name, |now| {
        let (revision, spec) = rolled_back(now, arguments.to)?;
        rolled_back_to = revision;
        Ok::<_, CliError>(spec)
    });
    let transform = rolled_back.await?.into();
    arguments.output.print(&TransformRolledBack {
        transform,
        rolled_back_to,
    })
}

/// The revision that `transform` goes back to, and the spec that it has then.
fn rolled_back(transform: &Transform, to: Option<u64>) -> Result<(u64, TransformSpec), CliError> {
    no_canary(&transform.name, &transform.spec)?;
    let target = target(&transform.name, &transform.status.history, to)?;
    Ok((target.revision, target.runs.in_place_of(&transform.spec)))
}

fn target<'a>(
    name: &ResourceName,
    history: &'a [TransformRevision],
    to: Option<u64>,
) -> Result<&'a TransformRevision, CliError> {
    let Some(to) = to else {
        return history.iter().rev().nth(1).ok_or_else(|| {
            let error = anyhow!("transform `{name}` has run nothing else that it could go back to");
            CliError::usage(error).next_step(format!(
                "`thalweg transform update {name} --uses MODULE@VERSION` gives it another version"
            ))
        });
    };
    let mut revisions = history.iter();
    revisions.find(|one| one.revision == to).ok_or_else(|| {
        let kept: Vec<_> = history.iter().map(|one| one.revision.to_string()).collect();
        let kept = if kept.is_empty() {
            "none".to_owned()
        } else {
            kept.join(", ")
        };
        let message = format!("transform `{name}` has no revision {to}, of those kept: {kept}");
        CliError::not_found(message)
            .next_step(format!("`thalweg transform history {name}` shows them"))
    })
}

#[cfg(test)]
pub(super) mod tests {
    use thalweg_client::resource::{
        OutputPartitioning, ResourceVersion, RevisionSpec, StartPosition, TransformNumber,
        TransformStatus,
    };
    use thalweg_types::{Capabilities, CompressionPolicy};

    use super::super::version_arguments::tests::chain;
    use super::*;

    /// The revisions 3 and 4, of `late@1.0.0` and `late@1.1.0`.
    pub(in crate::commands::transform) fn history() -> Vec<TransformRevision> {
        let runs = |module: &str| RevisionSpec {
            chain: chain(&[module]),
            partitioning: OutputPartitioning::Key,
            compression: CompressionPolicy::Zstd,
            dedup: None,
            tables: Vec::new(),
            capabilities: Capabilities::default(),
        };
        let revisions = [(3, "late@1.0.0"), (4, "late@1.1.0")];
        let revisions = revisions.map(|(revision, module)| TransformRevision {
            revision,
            at_ms: 1_700_000_000_000,
            runs: runs(module),
        });
        revisions.to_vec()
    }

    fn transform() -> Transform {
        Transform {
            name: "x".parse().unwrap(),
            number: TransformNumber(1),
            backfill_number: None,
            spec: TransformSpec {
                inputs: vec!["flights".parse().unwrap()],
                outputs: vec!["late".parse().unwrap()],
                chain: chain(&["late"]),
                start: StartPosition::End,
                partitioning: OutputPartitioning::Key,
                compression: CompressionPolicy::Uncompressed,
                dedup: None,
                tables: Vec::new(),
                capabilities: Capabilities::default(),
                canary: None,
                backfill: None,
                paused: true,
            },
            status: TransformStatus {
                history: history(),
                ..TransformStatus::default()
            },
            version: ResourceVersion(1),
        }
    }

    fn error(transform: &Transform, to: Option<u64>) -> String {
        rolled_back(transform, to).unwrap_err().to_string()
    }

    #[test]
    fn it_goes_back_by_one_or_to_any_and_keeps_what_is_no_part_of_a_revision() {
        let now = transform();

        let (revision, spec) = rolled_back(&now, None).unwrap();

        assert_eq!(revision, 3);
        assert_eq!(spec.chain.steps[0].uses.to_string(), "late@1.0.0");
        assert_eq!(spec.compression, CompressionPolicy::Zstd);
        assert_eq!((spec.start, spec.paused), (StartPosition::End, true));
        assert_eq!(rolled_back(&now, Some(4)).unwrap().0, 4);
    }

    #[test]
    fn where_there_is_nothing_to_go_back_to_that_is_said() {
        let mut now = transform();
        assert!(error(&now, Some(2)).contains("no revision 2, of those kept: 3, 4"));

        now.status.history.remove(0);
        assert!(error(&now, None).contains("has run nothing else"));

        now.status.history.clear();
        assert!(error(&now, Some(1)).contains("kept: none"));
        now.spec.canary = Some(thalweg_client::resource::CanarySpec {
            percent: 5,
            chain: chain(&["late"]),
        });
        assert!(error(&now, None).contains("has a canary"));
    }
}
