//! `transform describe`

use serde::Serialize;
use thalweg_client::TransformPartition;
use thalweg_types::{Offset, PartitionIndex, ResourceName, SpuId, TopicName};

use super::row::{TransformRow, names};
use crate::commands::topic::transform_table;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{OutputArguments, Render, Table, fields};

/// Show a transform: what it does, and how it fares on each partition of its inputs.
#[derive(Debug, clap::Args)]
pub(crate) struct DescribeArguments {
    /// Name of the transform.
    name: ResourceName,

    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Serialize)]
struct TransformShown {
    #[serde(flatten)]
    transform: TransformRow,
    partition_list: Vec<PartitionRow>,
}

/// How it fares on one partition.
#[derive(Debug, Serialize)]
struct PartitionRow {
    topic: TopicName,
    partition: PartitionIndex,
    /// The SPU that leads it.
    spu: Option<SpuId>,
    /// `unknown` where no runner has said anything.
    state: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
    #[serde(flatten)]
    figures: Option<Figures>,
}

/// What a runner says.
#[derive(Debug, Serialize)]
struct Figures {
    position: Offset,
    end: Offset,
    lag_records: i64,
    lag_ms: i64,
    records_in: u64,
    records_out: u64,
    failed: u64,
    restarts: u32,
    modules: String,
}

impl Render for TransformShown {
    fn render(&self) -> String {
        let transform = &self.transform;
        let head = fields([
            ("Name", transform.name.to_string()),
            ("Number", transform.number.to_string()),
            ("State", transform.state_text()),
            ("Inputs", names(&transform.inputs)),
            ("Outputs", names(&transform.outputs)),
            ("Start", transform.start.to_string()),
            ("Partitioning", transform.partitioning.to_string()),
            ("Compression", transform.compression.to_owned()),
        ]);
        let chain = transform_table(&transform.transforms);
        [head, chain, partition_table(&self.partition_list)].join("\n\n")
    }
}

fn partition_table(partitions: &[PartitionRow]) -> String {
    let mut table = Table::new([
        "INPUT", "SPU", "STATE", "POSITION", "LAG", "LAG MS", "IN", "OUT", "FAILED", "RESTARTS",
        "MODULES", "REASON",
    ]);
    for row in partitions {
        let dash = || "-".to_owned();
        let figure =
            |figure: fn(&Figures) -> String| row.figures.as_ref().map_or_else(dash, figure);
        table.row([
            format!("{}-{}", row.topic, row.partition),
            row.spu.map_or_else(dash, |spu| spu.to_string()),
            row.state.clone(),
            figure(|figures| figures.position.to_string()),
            figure(|figures| figures.lag_records.to_string()),
            figure(|figures| figures.lag_ms.to_string()),
            figure(|figures| figures.records_in.to_string()),
            figure(|figures| figures.records_out.to_string()),
            figure(|figures| figures.failed.to_string()),
            figure(|figures| figures.restarts.to_string()),
            figure(|figures| figures.modules.clone()),
            row.reason.clone(),
        ]);
    }
    table.text()
}

impl From<TransformPartition> for PartitionRow {
    fn from(partition: TransformPartition) -> Self {
        let (state, reason, figures) = match partition.report {
            None => ("unknown".to_owned(), partition.reason, None),
            Some(report) => {
                let figures = Figures {
                    position: report.position,
                    end: report.end,
                    lag_records: report.lag_records(),
                    lag_ms: report.lag_ms,
                    records_in: report.records_in,
                    records_out: report.records_out,
                    failed: report.failed,
                    restarts: report.restarts,
                    modules: report.modules,
                };
                (report.state.to_string(), report.reason, Some(figures))
            }
        };
        Self {
            topic: partition.input.topic,
            partition: partition.input.partition,
            spu: partition.leader,
            state,
            reason,
            figures,
        }
    }
}

pub(super) async fn run(arguments: &DescribeArguments, context: &Context) -> Result<(), CliError> {
    let admin = context.client().await?.admin();
    let described = admin.describe_transform(&arguments.name).await?;
    let partitions = described.partitions.into_iter().map(Into::into);
    arguments.output.print(&TransformShown {
        transform: described.transform.into(),
        partition_list: partitions.collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::row::tests::late_flights;
    use super::*;

    fn shown() -> TransformShown {
        let figures = Figures {
            position: Offset(80),
            end: Offset(100),
            lag_records: 20,
            lag_ms: 1500,
            records_in: 80,
            records_out: 7,
            failed: 1,
            restarts: 0,
            modules: "late@1.2.0".to_owned(),
        };
        let row = |partition, spu, state: &str, reason: &str, figures| PartitionRow {
            topic: "flights".parse().unwrap(),
            partition: PartitionIndex(partition),
            spu,
            state: state.to_owned(),
            reason: reason.to_owned(),
            figures,
        };
        TransformShown {
            transform: late_flights(),
            partition_list: vec![
                row(0, Some(SpuId(2)), "running", "", Some(figures)),
                row(1, None, "unknown", "it has no leader", None),
            ],
        }
    }

    #[test]
    fn people_see_the_chain_and_every_partition() {
        let text = shown().render();

        for line in [
            "Inputs:       flights,trains",
            "late@1.2.0  minutes=60",
            "INPUT      SPU  STATE    POSITION  LAG  LAG MS  IN  OUT  FAILED  RESTARTS  MODULES     REASON",
            "flights-0  2    running  80        20   1500    80  7    1       0         late@1.2.0",
            "flights-1  -    unknown  -         -    -       -   -    -       -         -           it has no leader",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }

    #[test]
    fn programs_see_no_figures_where_there_are_none() {
        let json = serde_json::to_value(shown()).unwrap();

        assert_eq!(json["partition_list"][0]["lag_records"], 20);
        let unknown = &json["partition_list"][1];
        assert_eq!(unknown["reason"], "it has no leader");
        assert!(unknown.get("position").is_none(), "{unknown}");
    }
}
