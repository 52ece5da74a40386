//! `transform describe`

use std::collections::BTreeMap;

use serde::Serialize;
use thalweg_client::TransformPartition;
use thalweg_client::resource::{BackfillSpec, CanarySpec};
use thalweg_types::{Offset, PartitionIndex, ResourceName, SpuId, TopicName, format_bytes};

use super::capability_arguments::capabilities_text;
use super::row::{TransformRow, names};
use crate::commands::topic::{look_back_text, transform_table};
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
    /// The topic that keeps its state, where it keeps any.
    #[serde(skip_serializing_if = "Option::is_none")]
    changelog: Option<TopicName>,
    partition_list: Vec<PartitionRow>,
    /// The same of its backfill.
    #[serde(skip_serializing_if = "Option::is_none")]
    backfill_changelog: Option<TopicName>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    backfill_partition_list: Vec<PartitionRow>,
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
    /// Whether it runs the canary's chain.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    canary: bool,
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
    late: u64,
    duplicates: u64,
    state_entries: u64,
    state_bytes: u64,
    restarts: u32,
    modules: String,
}

impl Render for TransformShown {
    fn render(&self) -> String {
        let transform = &self.transform;
        let always = [
            ("Name", transform.name.to_string()),
            ("Number", transform.number.to_string()),
            ("State", transform.state_text()),
            ("Inputs", names(&transform.inputs)),
            ("Outputs", names(&transform.outputs)),
            ("Start", transform.start.to_string()),
            ("Partitioning", transform.partitioning.to_string()),
            ("Compression", transform.compression.to_owned()),
        ];
        let dedup = transform.dedup.map(|of| ("Dedup", look_back_text(of)));
        let tables = (!transform.tables.is_empty()).then(|| ("Tables", names(&transform.tables)));
        let allowed = &transform.capabilities;
        let allowed = (!allowed.is_empty()).then(|| ("Capabilities", capabilities_text(allowed)));
        let canary = transform.canary.as_ref();
        let canary = canary.map(|canary| ("Canary", format!("{}%", canary.percent)));
        let changelog = self.changelog.as_ref();
        let changelog = changelog.map(|topic| ("Changelog", topic.to_string()));
        let head = fields(
            always
                .into_iter()
                .chain(dedup)
                .chain(tables)
                .chain(allowed)
                .chain(canary)
                .chain(changelog),
        );
        let chain = transform_table(&transform.transforms);
        let tried = transform.canary.as_ref().map(|canary| {
            let chain = transform_table(&canary.chain);
            format!("Canary:\n{chain}")
        });
        let partitions = partition_table(&self.partition_list, self.changelog.is_some());
        let parts = [head, chain].into_iter().chain(tried);
        let parts = parts.chain([partitions]).chain(self.backfill_text());
        let parts: Vec<_> = parts.collect();
        parts.join("\n\n")
    }
}

impl TransformShown {
    /// What the backfill does, and how it fares.
    fn backfill_text(&self) -> Option<String> {
        let BackfillSpec {
            chain,
            outputs,
            start,
        } = self.transform.backfill.as_ref()?;
        let always = [("Outputs", names(outputs)), ("Start", start.to_string())];
        let changelog = self.backfill_changelog.as_ref();
        let changelog = changelog.map(|topic| ("Changelog", topic.to_string()));
        let head = fields(always.into_iter().chain(changelog));
        let keeps_state = self.backfill_changelog.is_some();
        let partitions = partition_table(&self.backfill_partition_list, keeps_state);
        let chain = transform_table(chain);
        Some(format!("Backfill:\n{head}\n\n{chain}\n\n{partitions}"))
    }
}

/// A column, and what it says of a runner's figures.
type Column = (&'static str, fn(&Figures) -> String);

/// The figures that are shown: those of state where it keeps any, and what is rare where there is any.
fn columns(partitions: &[PartitionRow], keeps_state: bool) -> Vec<Column> {
    let any = |figure: fn(&Figures) -> u64| {
        let mut figures = partitions.iter().filter_map(|row| row.figures.as_ref());
        figures.any(|figures| figure(figures) > 0)
    };
    let always: [Column; 7] = [
        ("POSITION", |figures| figures.position.to_string()),
        ("LAG", |figures| figures.lag_records.to_string()),
        ("LAG MS", |figures| figures.lag_ms.to_string()),
        ("IN", |figures| figures.records_in.to_string()),
        ("OUT", |figures| figures.records_out.to_string()),
        ("FAILED", |figures| figures.failed.to_string()),
        ("RESTARTS", |figures| figures.restarts.to_string()),
    ];
    let late: Column = ("LATE", |figures| figures.late.to_string());
    let duplicates: Column = ("DUPLICATES", |figures| figures.duplicates.to_string());
    let kept: Column = ("KEPT", kept_text);
    let modules: Column = ("MODULES", |figures| figures.modules.clone());
    let mut columns = always.to_vec();
    columns.extend(any(|figures| figures.late).then_some(late));
    columns.extend(any(|figures| figures.duplicates).then_some(duplicates));
    columns.extend(keeps_state.then_some(kept));
    columns.push(modules);
    columns
}

/// `1,204 keys, 96 KiB`.
fn kept_text(figures: &Figures) -> String {
    let Figures {
        state_entries,
        state_bytes,
        ..
    } = figures;
    let keys = if *state_entries == 1 { "key" } else { "keys" };
    let entries = with_commas(*state_entries);
    format!("{entries} {keys}, {}", format_bytes(*state_bytes))
}

fn with_commas(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn partition_table(partitions: &[PartitionRow], keeps_state: bool) -> String {
    let columns = columns(partitions, keeps_state);
    let names = columns.iter().map(|(name, _)| *name);
    let mut table = Table::new(
        ["INPUT", "SPU", "STATE"]
            .into_iter()
            .chain(names)
            .chain(["REASON"]),
    );
    for row in partitions {
        let dash = || "-".to_owned();
        let figures = columns
            .iter()
            .map(|(_, figure)| row.figures.as_ref().map_or_else(dash, figure));
        let mark = if row.canary { " (canary)" } else { "" };
        let first = [
            format!("{}-{}{mark}", row.topic, row.partition),
            row.spu.map_or_else(dash, |spu| spu.to_string()),
            row.state.clone(),
        ];
        table.row(first.into_iter().chain(figures).chain([row.reason.clone()]));
    }
    table.text()
}

impl PartitionRow {
    fn new(partition: TransformPartition, canary: bool) -> Self {
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
                    late: report.late,
                    duplicates: report.duplicates,
                    state_entries: report.state_entries,
                    state_bytes: report.state_bytes,
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
            canary,
            figures,
        }
    }
}

/// How it fares on each of `partitions`, which are all of its inputs, where `canary` runs on some.
fn partition_rows(
    partitions: Vec<TransformPartition>,
    canary: Option<&CanarySpec>,
) -> Vec<PartitionRow> {
    let mut counts: BTreeMap<TopicName, i32> = BTreeMap::new();
    for partition in &partitions {
        *counts.entry(partition.input.topic.clone()).or_default() += 1;
    }
    let rows = partitions.into_iter().map(|partition| {
        let of_topic = counts[&partition.input.topic];
        let is_canary =
            canary.is_some_and(|canary| canary.runs_on(partition.input.partition, of_topic));
        PartitionRow::new(partition, is_canary)
    });
    rows.collect()
}

pub(super) async fn run(arguments: &DescribeArguments, context: &Context) -> Result<(), CliError> {
    let admin = context.client().await?.admin();
    let described = admin.describe_transform(&arguments.name).await?;
    let canary = described.transform.spec.canary.as_ref();
    let partition_list = partition_rows(described.partitions, canary);
    let backfill_partition_list = partition_rows(described.backfill_partitions, None);
    arguments.output.print(&TransformShown {
        transform: described.transform.into(),
        changelog: described.changelog,
        partition_list,
        backfill_changelog: described.backfill_changelog,
        backfill_partition_list,
    })
}

#[cfg(test)]
mod tests {
    use thalweg_types::LookBack;

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
            late: 0,
            duplicates: 0,
            state_entries: 0,
            state_bytes: 0,
            restarts: 0,
            modules: "late@1.2.0".to_owned(),
        };
        let row = |partition, spu, state: &str, reason: &str, figures| PartitionRow {
            topic: "flights".parse().unwrap(),
            partition: PartitionIndex(partition),
            spu,
            state: state.to_owned(),
            reason: reason.to_owned(),
            canary: false,
            figures,
        };
        TransformShown {
            transform: late_flights(),
            changelog: None,
            partition_list: vec![
                row(0, Some(SpuId(2)), "running", "", Some(figures)),
                row(1, None, "unknown", "it has no leader", None),
            ],
            backfill_changelog: None,
            backfill_partition_list: Vec::new(),
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
    fn people_see_what_is_kept_and_where() {
        let mut shown = shown();
        shown.changelog = Some("__transform-7-changelog".parse().unwrap());
        shown.transform.dedup = Some(LookBack {
            last: Some(1_000),
            age_ms: None,
        });
        let figures = shown.partition_list[0].figures.as_mut().unwrap();
        figures.state_entries = 1_234_567;
        figures.state_bytes = 96 << 10;
        figures.duplicates = 5;

        let text = shown.render();

        for line in [
            "Dedup:        last 1000",
            "Changelog:    __transform-7-changelog",
            "RESTARTS  DUPLICATES  KEPT                    MODULES",
            "0         5           1,234,567 keys, 96 KiB  late@1.2.0",
            "-         -           -                       -           it has no leader",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        let json = serde_json::to_value(shown).unwrap();
        assert_eq!(json["changelog"], "__transform-7-changelog");
        assert_eq!(json["dedup"]["last"], 1_000);
        assert_eq!(json["partition_list"][0]["state_entries"], 1_234_567);
    }

    #[test]
    fn tables_are_shown_where_there_are_any() {
        let plain = shown();
        assert!(!plain.render().contains("Tables"));
        assert_eq!(serde_json::to_value(plain).unwrap().get("tables"), None);

        let mut shown = shown();
        shown.transform.tables = vec!["airlines".parse().unwrap(), "airports".parse().unwrap()];

        let text = shown.render();
        assert!(text.contains("Tables:       airlines,airports"), "{text}");
        let json = serde_json::to_value(shown).unwrap();
        assert_eq!(json["tables"][1], "airports");
    }

    #[test]
    fn a_canary_is_shown_with_where_it_runs() {
        let mut shown = shown();
        let chain = thalweg_types::ChainSpec {
            steps: vec![thalweg_types::StepSpec {
                uses: "late@1.3.0".parse().unwrap(),
                ..shown.transform.transforms.steps[0].clone()
            }],
        };
        shown.transform.canary = Some(CanarySpec { percent: 50, chain });
        shown.partition_list[0].canary = true;

        let text = shown.render();

        for line in ["Canary:       50%", "late@1.3.0", "flights-0 (canary)  2"] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        assert!(!text.contains("flights-1 (canary)"), "{text}");
        let json = serde_json::to_value(shown).unwrap();
        assert_eq!(json["partition_list"][0]["canary"], true);
    }

    #[test]
    fn a_backfill_is_shown_with_how_it_fares() {
        let mut shown = shown();
        assert!(!shown.render().contains("Backfill"));
        shown.transform.backfill = Some(BackfillSpec {
            chain: shown.transform.transforms.clone(),
            outputs: vec!["later".parse().unwrap()],
            start: thalweg_client::resource::StartPosition::Beginning,
        });
        shown.backfill_changelog = Some("__transform-9-changelog".parse().unwrap());
        shown.backfill_partition_list = std::mem::take(&mut shown.partition_list);

        let text = shown.render();

        let (_, backfill) = text.split_once("Backfill:\n").unwrap();
        for line in [
            "Outputs:   later",
            "__transform-9-changelog",
            "flights-0  2",
        ] {
            assert!(backfill.contains(line), "{line}\n{text}");
        }
        let json = serde_json::to_value(shown).unwrap();
        assert_eq!(json["backfill_partition_list"][0]["lag_records"], 20);
        assert_eq!(json["backfill"]["outputs"][0], "later");
    }

    #[test]
    fn what_modules_may_do_is_shown_where_it_is_anything() {
        assert!(!shown().render().contains("Capabilities"));
        let mut shown = shown();
        shown.transform.capabilities.key_value = true;

        let text = shown.render();

        assert!(text.contains("Capabilities: key-value"), "{text}");
        let json = serde_json::to_value(shown).unwrap();
        assert_eq!(json["capabilities"]["keyValue"], true);
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
