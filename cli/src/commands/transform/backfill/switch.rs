//! `transform backfill switch`

use anyhow::anyhow;
use serde::Serialize;
use thalweg_client::resource::TransformSpec;
use thalweg_client::{TransformDescription, TransformPartition, TransformUpdate};
use thalweg_types::{ErrorCode, ResourceName, TransformRunState};

use super::super::row::{TransformRow, names};
use super::super::update::modules_text;
use super::the_backfill;
use crate::context::Context;
use crate::error::CliError;
use crate::exit_code::ExitCode;
use crate::output::{OutputArguments, Render};

/// How often it is tried again when somebody else's change came in between.
const ATTEMPTS: u32 = 5;

/// Let the backfill of a transform take its place: its chain and its outputs become the transform's.
///
/// It goes on where it is. The outputs that the transform had until then stay as they are, and get nothing more.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  $ thalweg transform backfill switch late
  $ thalweg transform backfill switch late --max-lag 0")]
pub(crate) struct SwitchArguments {
    /// Name of the transform.
    name: ResourceName,

    /// How many records the backfill may be behind, on all partitions together.
    #[arg(long, value_name = "RECORDS", default_value_t = 1000)]
    max_lag: u64,

    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Serialize)]
struct BackfillSwitched {
    #[serde(flatten)]
    transform: TransformRow,
}

impl Render for BackfillSwitched {
    fn render(&self) -> String {
        let TransformRow {
            name,
            transforms,
            outputs,
            ..
        } = &self.transform;
        let (modules, outputs) = (modules_text(transforms), names(outputs));
        format!("transform `{name}` runs {modules} into {outputs}")
    }
}

pub(super) async fn run(arguments: &SwitchArguments, context: &Context) -> Result<(), CliError> {
    let SwitchArguments {
        name,
        max_lag,
        output,
    } = arguments;
    let admin = context.client().await?.admin();
    let mut attempts = ATTEMPTS;
    let transform = loop {
        let described = admin.describe_transform(name).await?;
        let update = TransformUpdate {
            spec: switched(name, &described, *max_lag)?,
            expected_version: Some(described.transform.version),
            validate_only: false,
        };
        attempts -= 1;
        match admin.update_transform(name, update).await {
            Err(error) if error.code() == ErrorCode::Conflict && attempts > 0 => {}
            switched => break switched?,
        }
    };
    output.print(&BackfillSwitched {
        transform: transform.into(),
    })
}

/// The spec after the switch, where the backfill runs on all partitions and is no more behind than it may be.
fn switched(
    name: &ResourceName,
    described: &TransformDescription,
    max_lag: u64,
) -> Result<TransformSpec, CliError> {
    the_backfill(name, &described.transform.spec)?;
    let why_not = not_ready(&described.backfill_partitions, max_lag);
    match (why_not, described.transform.spec.switched()) {
        (None, Some(spec)) => Ok(spec),
        (why_not, _) => {
            let why_not = why_not.unwrap_or_default();
            let error =
                anyhow!("the backfill of transform `{name}` can't take its place: {why_not}");
            Err(CliError::new(ExitCode::Failure, error).next_step(format!(
                "`thalweg transform describe {name}` shows how far it is"
            )))
        }
    }
}

/// Why the backfill can't take the transform's place, where it can't.
fn not_ready(partitions: &[TransformPartition], max_lag: u64) -> Option<String> {
    let mut lag = 0_u64;
    for partition in partitions {
        let input = &partition.input;
        let Some(report) = &partition.report else {
            return Some(format!(
                "on {input} nothing is known of it: {}",
                partition.reason
            ));
        };
        if report.state != TransformRunState::Running {
            let reason = &report.reason;
            return Some(format!("on {input} it is {} {reason}", report.state));
        }
        lag = lag.saturating_add(report.lag_records().max(0).unsigned_abs());
    }
    if partitions.is_empty() {
        return Some("it has not begun yet".to_owned());
    }
    (lag > max_lag).then(|| format!("it is {lag} records behind, and --max-lag allows {max_lag}"))
}
