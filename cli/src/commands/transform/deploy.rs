//! `transform deploy`

use std::path::Path;
use std::time::Duration;

use anyhow::anyhow;
use bytes::Bytes;
use serde::Serialize;
use thalweg_client::resource::{OutputPartitioning, StartPosition, TransformSpec};
use thalweg_client::{Admin, NewSmartModule, NewTransform, TransformPartition};
use thalweg_types::{CompressionPolicy, ModuleRef, ResourceName, TopicName, TransformRunState};

use super::capability_arguments::CapabilityArguments;
use super::row::TransformRow;
use super::state_arguments::{StateArguments, give_to_aggregate};
use crate::commands::smartmodule::register;
use crate::context::Context;
use crate::error::CliError;
use crate::exit_code::ExitCode;
use crate::output::{Format, OutputArguments, Render, note};
use crate::smartmodule_arguments::SmartModuleArguments;
use crate::transforms::{self, Transform, Uses, read_wasm};

/// How long to wait until it runs.
const RUNS_TIMEOUT: Duration = Duration::from_secs(30);
/// How often to ask.
const RUNS_POLL: Duration = Duration::from_millis(200);

/// Run a chain of SmartModules from topics to topics, for as long as the transform is there.
///
/// Every record of the inputs passes the chain once, also when an SPU fails meanwhile, and what comes of it
/// is appended to the first output, or to the one that the header `thalweg.output` names. A wasm file is
/// registered first, under its own name. Returns once it runs on every input partition.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  $ thalweg transform deploy late --input flights --output late-flights --uses late@1.2.0
  $ thalweg transform deploy masked --input orders --output masked --module mask.wasm --with field=email
  $ thalweg transform deploy routed --input a --input b --output x --output y --transforms chain.yaml --start end
  $ thalweg transform deploy busy --input flights --output per-hour --uses count --aggregate-by-key --window tumbling:1h --lateness 5m
  $ thalweg transform deploy once --input orders --output orders-once --uses check --dedup last=100000,age=1d
  $ thalweg transform deploy named --input flights --output named-flights --uses name-airline --table airlines
  $ thalweg transform deploy scored --input orders --output scored --uses score --allow-http https://api.example.com --secret api-token")]
pub(crate) struct DeployArguments {
    /// Name of the transform.
    name: ResourceName,

    /// A topic to read; may be repeated.
    #[arg(long, value_name = "TOPIC", required = true)]
    input: Vec<TopicName>,

    /// A topic to write; may be repeated. Records go to the first where the chain names no other.
    #[arg(long, value_name = "TOPIC", required = true)]
    output: Vec<TopicName>,

    /// A compacted topic that the modules look keys up in; may be repeated.
    #[arg(long, value_name = "TOPIC")]
    table: Vec<TopicName>,

    #[command(flatten)]
    chain: SmartModuleArguments,

    #[command(flatten)]
    state: StateArguments,

    #[command(flatten)]
    capabilities: CapabilityArguments,

    /// Where to begin in each input partition: beginning, end, offset:NUMBER or timestamp:MILLISECONDS.
    #[arg(long, value_name = "START", default_value_t)]
    start: StartPosition,

    /// Which partition of an output a record goes to: that of its key, or that of the input's number
    /// (preserve).
    #[arg(long, value_name = "HOW", default_value_t)]
    partitioning: OutputPartitioning,

    /// How to compress what is written: producer (as the input is), uncompressed, gzip, snappy, lz4 or zstd.
    #[arg(long, value_name = "CODEC", default_value = "uncompressed", value_parser = compression)]
    compression: CompressionPolicy,

    /// Let it stand still until `thalweg transform resume`.
    #[arg(long)]
    paused: bool,

    /// Return once it is stored, and don't wait until it runs.
    #[arg(long)]
    no_wait: bool,

    /// How to show the result.
    #[arg(long, short = 'O', value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
}

#[derive(Debug, Serialize)]
struct Deployed {
    #[serde(flatten)]
    transform: TransformRow,
    /// On how many partitions of the inputs it runs; absent where nobody waited for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    running: Option<usize>,
}

impl Render for Deployed {
    fn render(&self) -> String {
        let TransformRow { name, state, .. } = &self.transform;
        match self.running {
            Some(count) => {
                let partitions = if count == 1 {
                    "partition"
                } else {
                    "partitions"
                };
                format!("transform `{name}` deployed, it runs on {count} {partitions}")
            }
            None => format!("transform `{name}` deployed, {state}"),
        }
    }
}

pub(crate) async fn run(arguments: DeployArguments, context: &Context) -> Result<(), CliError> {
    let aggregate = arguments.state.aggregate()?;
    if aggregate.is_some() && arguments.chain.is_yaml() {
        let error =
            anyhow!("the chain is in YAML, which says itself how its aggregate accumulates");
        return Err(CliError::usage(error).next_step(
            "leave out --aggregate-initial, --aggregate-by-key, --window, --lateness and --late, and write `aggregate` into its step",
        ));
    }
    let chain = arguments.chain.chain()?;
    if chain.is_empty() {
        let error = anyhow!("a transform needs at least one SmartModule");
        return Err(
            CliError::usage(error).next_step("add --uses NAME, --module FILE or --transforms FILE")
        );
    }
    let admin = context.client().await?.admin();
    let mut chain = with_registered(chain, context).await?;
    if let Some(aggregate) = aggregate {
        give_to_aggregate(&mut chain, aggregate, &admin).await?;
    }
    let transform = NewTransform {
        name: arguments.name.clone(),
        spec: TransformSpec {
            inputs: arguments.input,
            outputs: arguments.output,
            chain: transforms::stored(chain)?,
            start: arguments.start,
            partitioning: arguments.partitioning,
            compression: arguments.compression,
            dedup: arguments.state.dedup,
            tables: arguments.table,
            capabilities: arguments.capabilities.into(),
            canary: None,
            backfill: None,
            paused: arguments.paused,
        },
        validate_only: false,
    };
    let stored = admin.create_transform(transform).await?;
    let running = if arguments.no_wait || arguments.paused {
        None
    } else {
        Some(wait_until_it_runs(&admin, &arguments.name).await?)
    };
    OutputArguments::of(arguments.format).print(&Deployed {
        transform: stored.into(),
        running,
    })
}

/// The chain with every file registered, and named by the version that its bytes have.
pub(super) async fn with_registered(
    chain: Vec<Transform>,
    context: &Context,
) -> Result<Vec<Transform>, CliError> {
    let mut registered = Vec::with_capacity(chain.len());
    for mut step in chain {
        if let Uses::File(path) = &step.uses {
            let name = module_name(path)?;
            let module = NewSmartModule::new(name.clone(), Bytes::from(read_wasm(path)?));
            let version = register(module, context).await?;
            let module = ModuleRef {
                name,
                version: Some(version.version().clone()),
            };
            note(&version.render());
            step.uses = Uses::Registered(module);
        }
        registered.push(step);
    }
    Ok(registered)
}

/// What a file's module is called: as the file, with dashes for what cargo makes underscores of.
fn module_name(path: &Path) -> Result<ResourceName, CliError> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let name = stem.replace('_', "-");
    name.parse().map_err(|error| {
        CliError::usage(anyhow::Error::new(error))
            .context(format!("{} gives its module no name", path.display()))
            .next_step(format!(
                "register it with `thalweg smartmodule create NAME --wasm-file {}` and use --uses NAME",
                path.display()
            ))
    })
}

/// Waits until every partition of the inputs says that it runs, or one that it has failed; on how many it
/// runs.
async fn wait_until_it_runs(admin: &Admin, name: &ResourceName) -> Result<usize, CliError> {
    let describe = format!("`thalweg transform describe {name}` shows why");
    let runs = async {
        loop {
            let described = admin.describe_transform(name).await?;
            match verdict(&described.partitions) {
                Verdict::Waits => tokio::time::sleep(RUNS_POLL).await,
                Verdict::Runs(count) => return Ok(count),
                Verdict::Failed(why) => {
                    let error = anyhow!("transform `{name}` is stored, and fails: {why}");
                    return Err(CliError::new(ExitCode::Failure, error).next_step(&*describe));
                }
            }
        }
    };
    tokio::time::timeout(RUNS_TIMEOUT, runs)
        .await
        .unwrap_or_else(|_| {
            let error = anyhow!(
                "transform `{name}` is stored, but does not run on all partitions of its inputs after {} s",
                RUNS_TIMEOUT.as_secs()
            );
            Err(CliError::unavailable(error).next_step(&*describe))
        })
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Waits,
    Runs(usize),
    Failed(String),
}

fn verdict(partitions: &[TransformPartition]) -> Verdict {
    let mut running = 0;
    for partition in partitions {
        let Some(report) = &partition.report else {
            continue;
        };
        match report.state {
            TransformRunState::Running => running += 1,
            TransformRunState::Failed => {
                return Verdict::Failed(format!("{}: {}", partition.input, report.reason));
            }
            TransformRunState::Starting | TransformRunState::Waiting => {}
        }
    }
    // A topic that was just created may have no partitions yet.
    if running > 0 && running == partitions.len() {
        Verdict::Runs(running)
    } else {
        Verdict::Waits
    }
}

fn compression(name: &str) -> Result<CompressionPolicy, String> {
    CompressionPolicy::of_name(name).ok_or_else(|| {
        "write `producer`, `uncompressed`, `gzip`, `snappy`, `lz4` or `zstd`".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_names_its_module() {
        let name = |path: &str| module_name(Path::new(path)).map(|name| name.to_string());

        assert_eq!(name("target/mask_email.wasm").unwrap(), "mask-email");
        let error = name("My Module.wasm").unwrap_err().to_string();
        assert!(error.contains("--wasm-file My Module.wasm"), "{error}");
    }

    #[test]
    fn nothing_runs_before_there_are_partitions() {
        assert_eq!(verdict(&[]), Verdict::Waits);
    }
}
