//! `transform update`

use anyhow::anyhow;
use serde::Serialize;
use thalweg_client::resource::{CanarySpec, TransformSpec};
use thalweg_types::{ChainSpec, ResourceName};

use super::row::TransformRow;
use super::version_arguments::{NewVersion, VersionArguments};
use crate::context::Context;
use crate::error::CliError;
use crate::output::{OutputArguments, Render};

/// Give a transform another version of its modules, at once or on some partitions first.
///
/// With --canary the first partitions of each input run the other version, and the rest goes on as it is, until --promote
/// gives the version to all or --abort takes it away.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  $ thalweg transform update late --uses late@1.3.0
  $ thalweg transform update late --uses late@1.3.0 --with minutes=90 --canary 25
  $ thalweg transform update late --canary 50
  $ thalweg transform update late --promote
  $ thalweg transform update late --abort")]
#[command(group = clap::ArgGroup::new("change").required(true).multiple(true).args(["uses", "module", "with", "canary", "promote", "abort"]))]
pub(crate) struct UpdateArguments {
    /// Name of the transform.
    name: ResourceName,

    #[command(flatten)]
    version: VersionArguments,

    /// Run the other version on so many of a hundred partitions of each input, rounded up, and no others. Alone: let
    /// the canary that there is have so many.
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=99))]
    canary: Option<u8>,

    /// Let all partitions run what the canary runs.
    #[arg(long, conflicts_with_all = ["uses", "module", "with", "canary", "abort"])]
    promote: bool,

    /// Let all partitions run what the others run.
    #[arg(long, conflicts_with_all = ["uses", "module", "with", "canary"])]
    abort: bool,

    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Serialize)]
struct TransformUpdated {
    #[serde(flatten)]
    transform: TransformRow,
}

impl Render for TransformUpdated {
    fn render(&self) -> String {
        let TransformRow {
            name,
            transforms,
            canary,
            ..
        } = &self.transform;
        let beside = canary.as_ref().map(|canary| {
            let chain = modules_text(&canary.chain);
            format!(", and {chain} on {}% of the partitions", canary.percent)
        });
        let beside = beside.unwrap_or_default();
        format!(
            "transform `{name}` runs {}{beside}",
            modules_text(transforms)
        )
    }
}

/// The modules of a chain with commas in between.
pub(super) fn modules_text(chain: &ChainSpec) -> String {
    let steps = chain.steps.iter();
    let names: Vec<_> = steps.map(|step| step.uses.to_string()).collect();
    names.join(", ")
}

/// What becomes of the chains.
#[derive(Debug, Clone)]
enum Change {
    /// All run another version.
    Replace(NewVersion),
    /// Some do, of each hundred partitions so many.
    Try(NewVersion, u8),
    /// Another number of partitions runs the canary.
    Share(u8),
    Promote,
    Abort,
}

pub(super) async fn run(arguments: UpdateArguments, context: &Context) -> Result<(), CliError> {
    let UpdateArguments {
        name,
        version,
        canary,
        promote,
        abort,
        output,
    } = arguments;
    let change = match (canary, version.is_empty()) {
        _ if promote => Change::Promote,
        _ if abort => Change::Abort,
        (Some(percent), true) => Change::Share(percent),
        (Some(percent), false) => Change::Try(version.registered(context).await?, percent),
        (None, _) => Change::Replace(version.registered(context).await?),
    };
    let admin = context.client().await?.admin();
    let changed = admin.change_transform(&name, |now| change.of(&name, now.spec.clone()));
    let transform = changed.await?.into();
    output.print(&TransformUpdated { transform })
}

impl Change {
    /// The spec of transform `name` after the change.
    fn of(&self, name: &ResourceName, spec: TransformSpec) -> Result<TransformSpec, CliError> {
        match self {
            Self::Replace(version) => {
                no_canary(name, &spec)?;
                let chain = version.of(&spec.chain)?;
                Ok(TransformSpec { chain, ..spec })
            }
            Self::Try(version, percent) => {
                let chain = version.of(&spec.chain)?;
                let percent = *percent;
                let canary = Some(CanarySpec { percent, chain });
                Ok(TransformSpec { canary, ..spec })
            }
            Self::Share(percent) => {
                let percent = *percent;
                let CanarySpec { chain, .. } = the_canary(name, &spec)?;
                let canary = Some(CanarySpec { percent, chain });
                Ok(TransformSpec { canary, ..spec })
            }
            Self::Promote => {
                let CanarySpec { chain, .. } = the_canary(name, &spec)?;
                let canary = None;
                Ok(TransformSpec {
                    chain,
                    canary,
                    ..spec
                })
            }
            Self::Abort => {
                the_canary(name, &spec)?;
                let canary = None;
                Ok(TransformSpec { canary, ..spec })
            }
        }
    }
}

fn the_canary(name: &ResourceName, spec: &TransformSpec) -> Result<CanarySpec, CliError> {
    spec.canary.clone().ok_or_else(|| {
        let error = anyhow!("transform `{name}` has no canary");
        CliError::usage(error).next_step("begin one with --uses MODULE@VERSION --canary PERCENT")
    })
}

/// Checks that no other chain is tried, of which nobody would know what becomes of it.
///
/// # Errors
/// When there is a canary.
pub(super) fn no_canary(name: &ResourceName, spec: &TransformSpec) -> Result<(), CliError> {
    if spec.canary.is_none() {
        return Ok(());
    }
    let error = anyhow!("transform `{name}` has a canary");
    Err(CliError::usage(error).next_step(format!(
        "`thalweg transform update {name} --promote` gives it to all partitions, `--abort` takes it away"
    )))
}

#[cfg(test)]
pub(super) mod tests {
    use thalweg_client::resource::{OutputPartitioning, StartPosition};
    use thalweg_types::{Capabilities, CompressionPolicy};

    use super::super::row::tests::late_flights;
    use super::super::version_arguments::tests::{chain, version};
    use super::*;

    pub(in crate::commands::transform) fn spec() -> TransformSpec {
        TransformSpec {
            inputs: vec!["flights".parse().unwrap()],
            outputs: vec!["late".parse().unwrap()],
            chain: chain(&["late@1.2.0"]),
            start: StartPosition::Beginning,
            partitioning: OutputPartitioning::Key,
            compression: CompressionPolicy::Uncompressed,
            dedup: None,
            tables: Vec::new(),
            capabilities: Capabilities::default(),
            canary: None,
            backfill: None,
            paused: false,
        }
    }

    fn changed(change: &Change, spec: &TransformSpec) -> TransformSpec {
        change.of(&"x".parse().unwrap(), spec.clone()).unwrap()
    }

    fn refused(change: &Change, spec: &TransformSpec) -> String {
        let refused = change.of(&"x".parse().unwrap(), spec.clone());
        refused.unwrap_err().to_string()
    }

    #[test]
    fn a_canary_begins_grows_and_becomes_all_or_nothing() {
        let plain = spec();
        let next = version(&["late@1.3.0"], &[]);

        let tried = changed(&Change::Try(next, 25), &plain);
        let canary = tried.canary.as_ref().unwrap();
        assert_eq!(canary.percent, 25);
        assert_eq!(canary.chain, chain(&["late@1.3.0"]));
        assert_eq!(tried.chain, plain.chain);

        let wider = changed(&Change::Share(50), &tried);
        assert_eq!(wider.canary.as_ref().unwrap().percent, 50);
        assert_eq!(changed(&Change::Abort, &wider), plain);
        let all = changed(&Change::Promote, &wider);
        assert_eq!(all.chain, chain(&["late@1.3.0"]));
        assert_eq!(all.canary, None);
    }

    #[test]
    fn what_there_is_no_canary_for_is_refused_and_so_is_what_one_is_in_the_way_of() {
        let plain = spec();
        for change in [Change::Promote, Change::Abort, Change::Share(50)] {
            let error = refused(&change, &plain);
            assert!(error.contains("`x` has no canary"), "{error}");
        }
        let next = version(&["late@1.3.0"], &[]);
        let tried = changed(&Change::Try(next.clone(), 25), &plain);

        let error = refused(&Change::Replace(next.clone()), &tried);
        assert!(error.contains("`x` has a canary"), "{error}");
        let replaced = changed(&Change::Replace(next), &plain);
        assert_eq!(replaced.chain, chain(&["late@1.3.0"]));
    }

    #[test]
    fn people_are_told_what_runs_where() {
        let mut transform = late_flights();
        let told = |transform| TransformUpdated { transform }.render();
        transform.canary = Some(CanarySpec {
            percent: 25,
            chain: chain(&["late@1.3.0"]),
        });

        assert_eq!(
            told(transform),
            "transform `late-flights` runs late@1.2.0, and late@1.3.0 on 25% of the partitions"
        );
        assert_eq!(
            told(late_flights()),
            "transform `late-flights` runs late@1.2.0"
        );
    }
}
