//! `transform history`

use serde::Serialize;
use thalweg_client::resource::TransformRevision;
use thalweg_types::ResourceName;

use super::update::modules_text;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{OutputArguments, Render, Table};
use crate::timestamp::format_timestamp_ms;

/// Show what a transform runs and what it ran before: the last ten changes of its chain, partitioning, compression, dedup,
/// tables or capabilities.
///
/// Modules that are named without a version have the version that the name stood for.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  $ thalweg transform history late
  $ thalweg transform history late --output json
  $ thalweg transform rollback late --to 3")]
pub(crate) struct HistoryArguments {
    /// Name of the transform.
    name: ResourceName,

    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct TransformHistory(Vec<TransformRevision>);

impl Render for TransformHistory {
    fn render(&self) -> String {
        let mut table = Table::new(["REVISION", "SINCE", "MODULES", "PARAMETERS"]);
        for TransformRevision {
            revision,
            at_ms,
            runs,
        } in &self.0
        {
            let steps = runs.chain.steps.iter();
            let params = steps.flat_map(|step| step.with.iter());
            let params: Vec<_> = params
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            table.row([
                revision.to_string(),
                format_timestamp_ms(*at_ms),
                modules_text(&runs.chain),
                params.join(" "),
            ]);
        }
        table.text()
    }
}

pub(super) async fn run(arguments: &HistoryArguments, context: &Context) -> Result<(), CliError> {
    let admin = context.client().await?.admin();
    let described = admin.describe_transform(&arguments.name).await?;
    let history = described.transform.status.history;
    arguments.output.print(&TransformHistory(history))
}

#[cfg(test)]
mod tests {
    use super::super::rollback::tests::history;
    use super::*;

    #[test]
    fn people_see_what_ran_since_when() {
        let text = TransformHistory(history()).render();

        for line in ["REVISION  SINCE", "late@1.0.0  minutes=60", "late@1.1.0"] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }

    #[test]
    fn programs_see_all_of_it() {
        let json = serde_json::to_value(TransformHistory(history())).unwrap();

        assert_eq!(json[1]["revision"], 4);
        assert_eq!(json[1]["runs"]["chain"][0]["uses"], "late@1.1.0");
    }
}
