//! `transform backfill start`

use anyhow::anyhow;
use serde::Serialize;
use thalweg_client::resource::{BackfillSpec, StartPosition, TransformSpec};
use thalweg_types::{ResourceName, TopicName};

use super::super::row::{TransformRow, names};
use super::super::update::modules_text;
use super::super::version_arguments::{NewVersion, VersionArguments};
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Format, OutputArguments, Render};

/// Run another version of a transform beside it: over the same inputs from their beginning, into outputs of its own.
///
/// The transform goes on as it is. `thalweg transform describe` shows how far the backfill is, `thalweg transform backfill
/// compare` what its outputs have in common with the transform's.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  $ thalweg topic create late-2 --partitions 4
  $ thalweg transform backfill start late --uses late@2.0.0 --output late-2
  $ thalweg transform backfill compare late
  $ thalweg transform backfill switch late")]
#[command(group = clap::ArgGroup::new("another-version").required(true).multiple(true).args(["uses", "module", "with"]))]
pub(crate) struct StartArguments {
    /// Name of the transform.
    name: ResourceName,

    #[command(flatten)]
    version: VersionArguments,

    /// A topic to write in the place of an output; as many as the transform has outputs, in their order.
    #[arg(long, value_name = "TOPIC", required = true)]
    output: Vec<TopicName>,

    /// Where to begin in each input partition: beginning, end, offset:NUMBER or timestamp:MILLISECONDS.
    #[arg(long, value_name = "START", default_value_t)]
    start: StartPosition,

    /// How to show the result.
    #[arg(long, short = 'O', value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
}

#[derive(Debug, Serialize)]
struct BackfillStarted {
    #[serde(flatten)]
    transform: TransformRow,
}

impl Render for BackfillStarted {
    fn render(&self) -> String {
        let TransformRow { name, backfill, .. } = &self.transform;
        match backfill {
            Some(backfill) => format!(
                "transform `{name}` has a backfill that runs {} into {}",
                modules_text(&backfill.chain),
                names(&backfill.outputs)
            ),
            None => format!("transform `{name}` has no backfill any more"),
        }
    }
}

pub(super) async fn run(arguments: StartArguments, context: &Context) -> Result<(), CliError> {
    let StartArguments {
        name,
        version,
        output: outputs,
        start,
        format,
    } = arguments;
    let version = version.registered(context).await?;
    let wanted = Wanted {
        version,
        outputs,
        start,
    };
    let admin = context.client().await?.admin();
    let changed = admin.change_transform(&name, |now| wanted.beside(&name, now.spec.clone()));
    let transform = changed.await?.into();
    OutputArguments::of(format).print(&BackfillStarted { transform })
}

/// A backfill that is to be.
struct Wanted {
    version: NewVersion,
    outputs: Vec<TopicName>,
    start: StartPosition,
}

impl Wanted {
    fn beside(&self, name: &ResourceName, spec: TransformSpec) -> Result<TransformSpec, CliError> {
        if spec.backfill.is_some() {
            let error = anyhow!("transform `{name}` has a backfill already");
            return Err(CliError::usage(error).next_step(format!(
                "`thalweg transform backfill switch {name}` lets it take the transform's place, `abort` takes it away"
            )));
        }
        let backfill = Some(BackfillSpec {
            chain: self.version.of(&spec.chain)?,
            outputs: self.outputs.clone(),
            start: self.start,
        });
        Ok(TransformSpec { backfill, ..spec })
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::update::tests::spec;
    use super::super::super::version_arguments::tests::version;
    use super::*;

    #[test]
    fn one_begins_beside_what_runs_and_a_second_does_not() {
        let wanted = Wanted {
            version: version(&["late@2.0.0"], &[]),
            outputs: vec!["late-2".parse().unwrap()],
            start: StartPosition::Beginning,
        };
        let name = "x".parse().unwrap();

        let begun = wanted.beside(&name, spec()).unwrap();

        assert_eq!(begun.chain, spec().chain);
        let backfill = begun.backfill.as_ref().unwrap();
        assert_eq!(backfill.chain.steps[0].uses.to_string(), "late@2.0.0");
        let error = wanted.beside(&name, begun).unwrap_err().to_string();
        assert!(error.contains("has a backfill already"), "{error}");
    }
}
