//! `transform list`

use serde::Serialize;
use thalweg_client::TransformListing;

use super::row::{TransformRow, names};
use crate::context::Context;
use crate::error::CliError;
use crate::output::{OutputArguments, Render, Table};

/// List the transforms, with how far they are behind.
#[derive(Debug, clap::Args)]
pub(crate) struct ListArguments {
    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Serialize)]
struct ListedTransform {
    #[serde(flatten)]
    transform: TransformRow,
    partitions: u32,
    running: u32,
    failed: u32,
    lag_records: i64,
    lag_ms: i64,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct TransformList(Vec<ListedTransform>);

impl Render for TransformList {
    fn render(&self) -> String {
        let mut table = Table::new([
            "NAME", "STATE", "INPUTS", "OUTPUTS", "RUNNING", "FAILED", "LAG", "LAG MS",
        ]);
        for one in &self.0 {
            table.row([
                one.transform.name.to_string(),
                one.transform.short_state(),
                names(&one.transform.inputs),
                names(&one.transform.outputs),
                format!("{}/{}", one.running, one.partitions),
                one.failed.to_string(),
                one.lag_records.to_string(),
                one.lag_ms.to_string(),
            ]);
        }
        table.text()
    }
}

impl From<TransformListing> for ListedTransform {
    fn from(listing: TransformListing) -> Self {
        Self {
            partitions: listing.partitions,
            running: listing.running,
            failed: listing.failed,
            lag_records: listing.lag_records,
            lag_ms: listing.lag_ms,
            transform: listing.transform.into(),
        }
    }
}

pub(super) async fn run(arguments: &ListArguments, context: &Context) -> Result<(), CliError> {
    let listed = context.client().await?.admin().list_transforms().await?;
    let listed = listed.into_iter().map(Into::into).collect();
    arguments.output.print(&TransformList(listed))
}

#[cfg(test)]
mod tests {
    use super::super::row::tests::late_flights;
    use super::*;

    fn list() -> TransformList {
        TransformList(vec![ListedTransform {
            transform: late_flights(),
            partitions: 4,
            running: 3,
            failed: 1,
            lag_records: 120,
            lag_ms: 1500,
        }])
    }

    #[test]
    fn people_get_a_row_for_each_transform() {
        assert_eq!(
            list().render(),
            "NAME          STATE    INPUTS          OUTPUTS  RUNNING  FAILED  LAG  LAG MS\n\
             late-flights  running  flights,trains  late     3/4      1       120  1500"
        );
    }

    #[test]
    fn a_canary_is_seen() {
        let mut list = list();
        list.0[0].transform.canary = Some(thalweg_client::resource::CanarySpec {
            percent: 25,
            chain: thalweg_types::ChainSpec::default(),
        });

        assert!(list.render().contains("running (canary 25%)"));
    }

    #[test]
    fn programs_get_a_list() {
        assert_eq!(
            serde_json::to_string(&list()).unwrap(),
            r#"[{"name":"late-flights","number":7,"state":"running","inputs":["flights","trains"],"outputs":["late"],"transforms":[{"uses":"late@1.2.0","with":{"minutes":"60"},"lookBack":null,"onError":"skip"}],"start":"beginning","partitioning":"key","compression":"uncompressed","paused":false,"partitions":4,"running":3,"failed":1,"lag_records":120,"lag_ms":1500}]"#
        );
    }
}
