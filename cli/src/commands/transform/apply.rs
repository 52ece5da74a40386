//! `transform apply`

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Serialize;
use thalweg_client::{Admin, AdminError, NewTransform, TransformUpdate};
use thalweg_types::{ErrorCode, ResourceName};

use super::document::{WantedTransform, read};
use crate::context::Context;
use crate::error::CliError;
use crate::output::{OutputArguments, Render};

/// Create the transforms that a YAML file describes, or change those that there are.
///
/// The file has one or more documents, in the form that Kubernetes knows as the custom resource `Transform`.
/// Inputs and outputs of a transform stay as they were when it was made.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  $ thalweg transform apply -f transforms.yaml
  $ cat transforms.yaml | thalweg transform apply -f -

A document:
  apiVersion: thalweg.dev/v1alpha1
  kind: Transform
  metadata:
    name: late-flights
  spec:
    inputs: [flights]
    outputs: [late]
    transforms:
      - uses: late@1.2.0
        with: {minutes: '60'}
        onError: skip
    start: beginning          # end, offset:NUMBER, timestamp:MILLISECONDS
    partitioning: key         # preserve
    compression: uncompressed # producer, gzip, snappy, lz4, zstd
    canary: {percent: 25, transforms: [{uses: late@1.3.0}]} # none where left out
    paused: false")]
pub(crate) struct ApplyArguments {
    /// The file; - for what is piped in.
    #[arg(long, short, value_name = "FILE")]
    file: PathBuf,

    /// Check everything with the controller and change nothing.
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Serialize)]
struct AllApplied {
    applied: Vec<Applied>,
    #[serde(skip)]
    dry_run: bool,
}

#[derive(Debug, Serialize)]
struct Applied {
    name: ResourceName,
    outcome: Outcome,
}

/// What became of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Created,
    Updated,
    Unchanged,
}

impl Render for AllApplied {
    fn render(&self) -> String {
        let line = |Applied { name, outcome }: &Applied| {
            let what = match (outcome, self.dry_run) {
                (Outcome::Created, false) => "created",
                (Outcome::Created, true) => "could be created",
                (Outcome::Updated, false) => "updated",
                (Outcome::Updated, true) => "could be updated",
                (Outcome::Unchanged, _) => "is so already",
            };
            format!("transform `{name}` {what}")
        };
        let lines: Vec<_> = self.applied.iter().map(line).collect();
        lines.join("\n")
    }
}

pub(super) async fn run(arguments: &ApplyArguments, context: &Context) -> Result<(), CliError> {
    let path = &arguments.file;
    let text = text_of(path)
        .with_context(|| format!("failed to read {}", path.display()))
        .map_err(CliError::usage)?;
    // All of them first: what is wrong in the last should be known before the first is changed.
    let wanted = read(&text)
        .with_context(|| path.display().to_string())
        .map_err(CliError::usage)?;
    let admin = context.client().await?.admin();
    let mut applied = Vec::new();
    for one in wanted {
        let name = one.name.clone();
        let outcome = apply(&admin, one, arguments.dry_run)
            .await
            .map_err(|error| CliError::from(error).context(format!("transform `{name}`")))?;
        applied.push(Applied { name, outcome });
    }
    arguments.output.print(&AllApplied {
        applied,
        dry_run: arguments.dry_run,
    })
}

fn text_of(path: &Path) -> std::io::Result<String> {
    if path.as_os_str() != "-" {
        return std::fs::read_to_string(path);
    }
    let mut text = String::new();
    std::io::stdin().lock().read_to_string(&mut text)?;
    Ok(text)
}

async fn apply(
    admin: &Admin,
    wanted: WantedTransform,
    validate_only: bool,
) -> Result<Outcome, AdminError> {
    let WantedTransform { name, spec } = wanted;
    match admin.describe_transform(&name).await {
        Ok(described) if described.transform.spec == spec => Ok(Outcome::Unchanged),
        Ok(described) => {
            let update = TransformUpdate {
                spec,
                expected_version: Some(described.transform.version),
                validate_only,
            };
            admin.update_transform(&name, update).await?;
            Ok(Outcome::Updated)
        }
        Err(error) if error.code() == ErrorCode::NotFound => {
            let transform = NewTransform {
                name,
                spec,
                validate_only,
            };
            admin.create_transform(transform).await?;
            Ok(Outcome::Created)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_told_what_became_of_each() {
        let one = |name: &str, outcome| Applied {
            name: name.parse().unwrap(),
            outcome,
        };
        let mut all = AllApplied {
            applied: vec![one("a", Outcome::Created), one("b", Outcome::Unchanged)],
            dry_run: false,
        };
        assert_eq!(
            all.render(),
            "transform `a` created\ntransform `b` is so already"
        );

        all.dry_run = true;
        assert!(all.render().contains("`a` could be created"));
    }
}
