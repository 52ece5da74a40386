//! `smartmodule describe`

use std::fmt;

use serde::Serialize;
use thalweg_client::SmartModuleUser;
use thalweg_types::{ModuleRef, ResourceName, TopicName, format_bytes};

use super::row::{VersionRow, param_table, version_table};
use crate::context::Context;
use crate::error::CliError;
use crate::output::{OutputArguments, Render, fields};

/// Show a SmartModule: what it does, its parameters, its versions, and the topics and transforms that
/// use it.
#[derive(Debug, clap::Args)]
pub(crate) struct DescribeArguments {
    /// Name of the SmartModule, or NAME@VERSION.
    #[arg(value_name = "NAME[@VERSION]")]
    module: ModuleRef,

    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Serialize)]
struct ModuleShown {
    name: ResourceName,
    #[serde(flatten)]
    version: VersionRow,
    used_by: Vec<UsedBy>,
    versions: Vec<VersionRow>,
}

#[derive(Debug, Serialize)]
struct UsedBy {
    #[serde(flatten)]
    user: User,
    uses: ModuleRef,
}

/// Whose chain it is.
#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum User {
    Topic(TopicName),
    Transform(ResourceName),
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic(name) => write!(f, "topic {name}"),
            Self::Transform(name) => write!(f, "transform {name}"),
        }
    }
}

impl Render for ModuleShown {
    fn render(&self) -> String {
        let shown = &self.version;
        let users: Vec<_> = self
            .used_by
            .iter()
            .map(|one| format!("{} (as {})", one.user, one.uses))
            .collect();
        let or_dash = |text: String| {
            if text.is_empty() {
                "-".to_owned()
            } else {
                text
            }
        };
        let current = if shown.current {
            ""
        } else {
            " (not the current one)"
        };
        let mut parts = vec![fields([
            ("Name", self.name.to_string()),
            ("Version", format!("{}{current}", shown.version)),
            ("Kind", shown.kind.to_string()),
            (
                "Looks back",
                if shown.looks_back { "yes" } else { "no" }.to_owned(),
            ),
            ("Description", or_dash(shown.description.clone())),
            ("Size", format_bytes(shown.size_bytes)),
            ("SHA-256", shown.sha256.clone()),
            ("Created", shown.created.clone()),
            ("Offset", shown.offset.to_string()),
            ("Used by", or_dash(users.join(", "))),
        ])];
        parts.push(param_table(shown.params.iter().map(Into::into)));
        parts.push(version_table(&self.versions));
        parts.retain(|part| !part.is_empty());
        parts.join("\n\n")
    }
}

pub(super) async fn run(arguments: &DescribeArguments, context: &Context) -> Result<(), CliError> {
    let admin = context.client().await?.admin();
    let name = &arguments.module.name;
    let described = admin.describe_smart_module(name).await?;
    let spec = &described.module.spec;
    let revision = spec
        .resolve(&arguments.module)
        .map_err(|unknown| CliError::not_found(unknown.to_string()))?;
    let version = VersionRow::of(revision.clone(), &spec.current);
    let used_by = described.used_by.into_iter().filter_map(|one| {
        let user = match one.user {
            SmartModuleUser::Topic(name) => User::Topic(name),
            SmartModuleUser::Transform(name) => User::Transform(name),
            // Of a later version, which this one has no words for.
            _ => return None,
        };
        let uses = one.uses;
        Some(UsedBy { user, uses })
    });
    arguments.output.print(&ModuleShown {
        name: name.clone(),
        version,
        used_by: used_by.collect(),
        versions: VersionRow::all(described.module),
    })
}
