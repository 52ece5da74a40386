//! One suite for every example module: the same records come out wherever it is applied, on
//! consume, on a producer's stream, on the topic for every producer, and locally with no cluster.
//!
//! What a place adds of its own is left out of the comparison: where records are appended after the
//! module they get offsets of their own, and a module that looks at offsets (the SDK's `shout`) sees
//! places in the producer's batch.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::{Value, json};
use thalweg_client::{
    Client, ProducerOptions, ProducerRecord, RecordHeader, SmartModuleInvocation,
};
use thalweg_tests_cluster::LocalCluster;
use thalweg_types::TopicName;

use crate::examples::example_path;

/// When the first record was made; each is a second after the one before it.
const TIMESTAMP_MS: i64 = 1_357_034_400_000;
/// That was long ago, and the records are to stay.
const KEPT: (&str, &str) = ("retention.ms", "-1");

/// One module with its parameters, and what it is given.
struct Case {
    package: &'static str,
    module: &'static str,
    params: &'static [(&'static str, &'static str)],
    inputs: &'static [&'static str],
    /// An aggregate counts what it has seen, so that it stands before no log: a batch that is sent
    /// again would count twice.
    is_aggregate: bool,
}

const fn case(
    package: &'static str,
    module: &'static str,
    inputs: &'static [&'static str],
) -> Case {
    Case {
        package,
        module,
        params: &[],
        inputs,
        is_aggregate: false,
    }
}

impl Case {
    const fn with(mut self, params: &'static [(&'static str, &'static str)]) -> Self {
        self.params = params;
        self
    }

    const fn aggregate(mut self) -> Self {
        self.is_aggregate = true;
        self
    }
}

const FLIGHTS: &[&str] = &[
    "2013,1,1,517,515,2,830,819,11,UA,1545,N14228,EWR,IAH,227,1400,5,15,2013-01-01 05:00:00",
    "2013,1,1,533,529,90,850,830,20,UA,1714,N24211,LGA,IAH,227,1416,5,29,2013-01-01 05:00:00",
    "2013,1,1,NA,1630,NA,NA,1815,NA,EV,4308,N18120,EWR,RDU,NA,416,16,30,2013-01-01 16:00:00",
];
const LINES: &[&str] = &[
    "is 123-45-6789",
    "ERROR no disk",
    "",
    "caf\u{e9} ERROR",
    "12",
];
const LOGS: &[&str] = &[
    r#"{"level":"debug","n":1}"#,
    r#"{"level":"error","n":2}"#,
    r#"{"level":"warn","n":3}"#,
];
const NUMBERS: &[&str] = &["1", "2", "40", "-3"];
const ARRAYS: &[&str] = &[r#"["a",{"b":1}]"#, "[]", "[null,2]"];

const CASES: &[Case] = &[
    case("thalweg-example-flights", "late", FLIGHTS),
    case("thalweg-example-flights", "to_json", FLIGHTS),
    case("thalweg-example-flights", "cancelled", FLIGHTS),
    case("thalweg-example-flights", "airports", FLIGHTS),
    case("thalweg-example-flights", "delays_by_carrier", FLIGHTS).aggregate(),
    case("thalweg-smartmodule", "contains", LINES).with(&[("text", "ERROR")]),
    case("thalweg-smartmodule", "numbers", LINES),
    case("thalweg-smartmodule", "repeat", NUMBERS),
    case("thalweg-smartmodule", "sum", NUMBERS).aggregate(),
    case("thalweg-example-ports", "regex_filter", LINES).with(&[("regex", "ER+OR")]),
    case("thalweg-example-ports", "uppercase", LINES),
    case("thalweg-example-ports", "json_filter", LOGS).with(&[("min_level", "warn")]),
    case("thalweg-example-ports", "json_split", ARRAYS),
    case("thalweg-example-ports", "running_sum", NUMBERS).aggregate(),
    case("thalweg-example-ports", "average", NUMBERS).aggregate(),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_example_gives_the_same_records_in_every_place() {
    let cluster = LocalCluster::start(1).await;
    let client = cluster.client().await;

    for (number, case) in CASES.iter().enumerate() {
        let place = Places {
            cluster: &cluster,
            client: &client,
            case,
            wasm: example_path(case.package, case.module),
            name: format!("c{number}-{}", case.module.replace('_', "-")),
        };
        let local = place.local();
        let consumed = place.consume().await;
        assert_eq!(consumed, local, "{} on consume", place.name);
        if case.is_aggregate {
            continue;
        }
        let local = without_offsets(local);
        assert!(!local.is_empty(), "{} lets nothing pass", place.name);
        let produced = place.produce().await;
        assert_eq!(produced, local, "{} on produce", place.name);
        let attached = place.topic().await;
        assert_eq!(attached, local, "{} on the topic", place.name);
    }
}

/// One case, and where to try it.
struct Places<'a> {
    cluster: &'a LocalCluster,
    client: &'a Client,
    case: &'a Case,
    wasm: PathBuf,
    name: String,
}

impl Places<'_> {
    /// `smartmodule test`, which needs no cluster.
    fn local(&self) -> Vec<Value> {
        let lines = self.cluster.path(&format!("{}.jsonl", self.name));
        let inputs = (TIMESTAMP_MS..).step_by(1000).zip(self.case.inputs);
        let text: Vec<_> = inputs
            .map(|(timestamp_ms, value)| {
                json!({
                    "timestamp": timestamp_ms,
                    "key": "k",
                    "value": value,
                    "headers": [{ "key": "h", "value": "1" }],
                })
                .to_string()
            })
            .collect();
        fs::write(&lines, text.join("\n") + "\n").unwrap();
        let mut arguments = vec![
            "smartmodule",
            "test",
            "--json",
            "--output",
            "json",
            "--file",
        ];
        arguments.push(lines.to_str().unwrap());
        self.run(&arguments)
    }

    async fn consume(&self) -> Vec<Value> {
        let topic = self.cluster.create_topic(&self.name, 1, &[KEPT]).await;
        self.send(&topic, Vec::new()).await;
        self.run(&["consume", &self.name, "-B", "-d", "--output", "json"])
    }

    async fn produce(&self) -> Vec<Value> {
        let name = format!("{}-produce", self.name);
        let topic = self.cluster.create_topic(&name, 1, &[KEPT]).await;
        let wasm = fs::read(&self.wasm).unwrap();
        let module = SmartModuleInvocation::wasm(self.case.module, wasm);
        let params = self.case.params.iter();
        let module = params.fold(module, |module, (key, value)| module.param(*key, *value));
        self.send(&topic, vec![module]).await;
        self.read_back(&name)
    }

    /// Registered, and named by a topic that applies it to every producer's records.
    async fn topic(&self) -> Vec<Value> {
        let wasm = self.wasm.to_str().unwrap();
        succeeded(&self.cluster.thalweg(&[
            "smartmodule",
            "create",
            &self.name,
            "--wasm-file",
            wasm,
        ]));
        let with: serde_json::Map<_, _> = self
            .case
            .params
            .iter()
            .map(|(key, value)| ((*key).to_owned(), json!(value)))
            .collect();
        let transforms = json!({ "transforms": [{ "uses": self.name, "with": with }] });
        let file = self.cluster.path(&format!("{}.yaml", self.name));
        // JSON is YAML too.
        fs::write(&file, transforms.to_string()).unwrap();
        let name = format!("{}-topic", self.name);
        let file = file.to_str().unwrap();
        succeeded(&self.cluster.thalweg(&[
            "topic",
            "create",
            &name,
            "--transforms",
            file,
            "--config",
            "retention.ms=-1",
        ]));
        let topic: TopicName = name.parse().unwrap();
        self.send(&topic, Vec::new()).await;
        self.read_back(&name)
    }

    async fn send(&self, topic: &TopicName, smartmodules: Vec<SmartModuleInvocation>) {
        let options = ProducerOptions {
            smartmodules,
            ..ProducerOptions::default()
        };
        let producer = self.client.producer(topic, options).await.unwrap();
        let headers = [RecordHeader::new("h", b"1")];
        for (timestamp_ms, value) in (TIMESTAMP_MS..).step_by(1000).zip(self.case.inputs) {
            let record = ProducerRecord::new(value.as_bytes())
                .key(b"k")
                .headers(&headers)
                .timestamp_ms(timestamp_ms);
            producer.enqueue(record).await.unwrap();
        }
        producer.close().await.unwrap();
    }

    fn read_back(&self, topic: &str) -> Vec<Value> {
        let output = self
            .cluster
            .thalweg(&["consume", topic, "-B", "-d", "--output", "json"]);
        without_offsets(records(&output))
    }

    /// Runs the command with the module and its parameters.
    fn run(&self, arguments: &[&str]) -> Vec<Value> {
        let params: Vec<_> = self
            .case
            .params
            .iter()
            .map(|(key, value)| format!("--param={key}={value}"))
            .collect();
        let module = module_flag(&self.wasm);
        let mut all = arguments.to_vec();
        all.push(&module);
        all.extend(params.iter().map(String::as_str));
        records(&self.cluster.thalweg(&all))
    }
}

fn module_flag(wasm: &Path) -> String {
    format!("--smartmodule-path={}", wasm.display())
}

fn succeeded(output: &Output) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
}

fn records(output: &Output) -> Vec<Value> {
    succeeded(output);
    String::from_utf8(output.stdout.clone())
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn without_offsets(mut records: Vec<Value>) -> Vec<Value> {
    for record in &mut records {
        record.as_object_mut().unwrap().remove("offset");
    }
    records
}
