//! The places in which one case is tried.

use std::fs;
use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

use serde_json::{Value, json};
use thalweg_client::{
    Client, LookBack, ProducerOptions, ProducerRecord, RecordHeader, SmartModuleInvocation,
};
use thalweg_tests_cluster::LocalCluster;
use thalweg_types::TopicName;

use super::cases::Case;
use thalweg_tests_cluster::examples::example_path;

/// When the first record was made; each is a second after the one before it.
const TIMESTAMP_MS: i64 = 1_357_034_400_000;
/// That was long ago, and the records are to stay.
const KEPT: (&str, &str) = ("retention.ms", "-1");
/// More than lies before any case's records.
const LOOK_BACK_LAST: u64 = 1000;

/// One case, and where to try it.
pub(super) struct Places<'a> {
    cluster: &'a LocalCluster,
    client: &'a Client,
    case: &'a Case,
    wasm: PathBuf,
    name: String,
}

impl<'a> Places<'a> {
    pub(super) fn new(
        cluster: &'a LocalCluster,
        client: &'a Client,
        number: usize,
        case: &'a Case,
    ) -> Self {
        Self {
            cluster,
            client,
            case,
            wasm: example_path(case.package, case.module),
            name: format!("c{number}-{}", case.module.replace('_', "-")),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// On the consumer's stream.
    pub(super) async fn consume(&self) -> Vec<Value> {
        let topic = self.cluster.create_topic(&self.name, 1, &[KEPT]).await;
        self.send_before(&topic).await;
        self.send(&topic, ProducerOptions::default()).await;
        let start = self.start();
        self.run(&["consume", &self.name, "--start", &start, "-d", "-O", "json"])
    }

    /// `smartmodule test` in this process: over the same records from a file, which needs no cluster,
    /// or, where the module looks back, over those of the consumer's topic.
    pub(super) fn local(&self) -> Vec<Value> {
        let start = self.start();
        if self.looks_back() {
            let of_topic = ["--topic", &self.name, "--start", &start];
            return self.run(&[&["smartmodule", "test", "-O", "json"], &of_topic[..]].concat());
        }
        let lines = self.cluster.path(&format!("{}.jsonl", self.name));
        let text: Vec<_> = self
            .records(self.case.inputs)
            .map(|(timestamp_ms, key, value)| {
                json!({
                    "timestamp": timestamp_ms,
                    "key": key,
                    "value": value,
                    "headers": [{ "key": "h", "value": "1" }],
                })
                .to_string()
            })
            .collect();
        fs::write(&lines, text.join("\n") + "\n").unwrap();
        let file = lines.to_str().unwrap();
        self.run(&[
            "smartmodule",
            "test",
            "--json",
            "-O",
            "json",
            "--file",
            file,
        ])
    }

    /// On the producer's own stream.
    pub(super) async fn produce(&self) -> Vec<Value> {
        let name = format!("{}-produce", self.name);
        let topic = self.cluster.create_topic(&name, 1, &[KEPT]).await;
        self.send_before(&topic).await;
        let wasm = fs::read(&self.wasm).unwrap();
        let module = SmartModuleInvocation::wasm(self.case.module, wasm);
        let params = self.case.params.iter();
        let mut module = params.fold(module, |module, (key, value)| module.param(*key, *value));
        if let Some(policy) = self.case.on_error {
            module.on_error = policy.parse().unwrap();
        }
        module.look_back = self.looks_back().then_some(LookBack {
            last: Some(LOOK_BACK_LAST),
            age_ms: None,
        });
        let aggregate = self.case.aggregate.as_ref();
        let options = ProducerOptions {
            smartmodules: vec![module],
            accumulator: aggregate.map(|aggregate| aggregate.initial.into()),
            accumulate_by_key: aggregate.is_some_and(|aggregate| aggregate.by_key),
            ..ProducerOptions::default()
        };
        self.send(&topic, options).await;
        self.read_back(&name)
    }

    /// Registers the module, and makes a topic that applies it to every producer's records. What the
    /// records come after is there already.
    pub(super) async fn prepare_topic(&self) {
        let wasm = self.wasm.to_str().unwrap();
        let create = ["smartmodule", "create", &self.name, "--wasm-file", wasm];
        succeeded(&self.cluster.thalweg(&create));
        let topic = self.topic_name();
        let kept = format!("{}={}", KEPT.0, KEPT.1);
        let create = ["topic", "create", topic.as_str(), "--config", &kept];
        succeeded(&self.cluster.thalweg(&create));
        self.send_before(&topic).await;
        let file = self.cluster.path(&format!("{}.yaml", self.name));
        // JSON is YAML too.
        let transforms = json!({ "transforms": [self.step()] });
        fs::write(&file, transforms.to_string()).unwrap();
        let file = file.to_str().unwrap();
        let update = ["topic", "update", topic.as_str(), "--transforms", file];
        succeeded(&self.cluster.thalweg(&update));
    }

    /// On that topic.
    pub(super) async fn topic(&self) -> Vec<Value> {
        let topic = self.topic_name();
        self.send(&topic, ProducerOptions::default()).await;
        self.read_back(topic.as_str())
    }

    fn topic_name(&self) -> TopicName {
        format!("{}-topic", self.name).parse().unwrap()
    }

    /// The step of a chain in YAML.
    fn step(&self) -> Value {
        let params = self.case.params.iter();
        let with: serde_json::Map<_, _> = params
            .map(|(key, value)| ((*key).to_owned(), json!(value)))
            .collect();
        let mut step = json!({ "uses": self.name, "with": with });
        if let Some(policy) = self.case.on_error {
            step["on_error"] = json!(policy);
        }
        if self.looks_back() {
            step["lookback"] = json!({ "last": LOOK_BACK_LAST });
        }
        if let Some(aggregate) = &self.case.aggregate {
            step["aggregate"] = json!({
                "initial": aggregate.initial,
                "by_key": aggregate.by_key,
            });
        }
        step
    }

    fn looks_back(&self) -> bool {
        !self.case.before.is_empty()
    }

    /// The offset of the first record.
    fn start(&self) -> String {
        self.case.before.len().to_string()
    }

    fn records(
        &self,
        values: &'static [&'static str],
    ) -> impl Iterator<Item = (i64, &'static str, &'static str)> {
        let keys = self.case.keys.iter().cycle();
        let values = values.iter().zip(keys);
        (TIMESTAMP_MS..)
            .step_by(1000)
            .zip(values)
            .map(|(timestamp_ms, (value, key))| (timestamp_ms, *key, *value))
    }

    async fn send_before(&self, topic: &TopicName) {
        if self.looks_back() {
            let options = ProducerOptions::default();
            self.send_all(topic, self.case.before, options).await;
        }
    }

    async fn send(&self, topic: &TopicName, options: ProducerOptions) {
        self.send_all(topic, self.case.inputs, options).await;
    }

    async fn send_all(
        &self,
        topic: &TopicName,
        values: &'static [&'static str],
        options: ProducerOptions,
    ) {
        let options = ProducerOptions {
            // All in one batch.
            linger: Duration::from_secs(60),
            ..options
        };
        let producer = self.client.producer(topic, options).await.unwrap();
        let headers = [RecordHeader::new("h", b"1")];
        for (timestamp_ms, key, value) in self.records(values) {
            let record = ProducerRecord::new(value.as_bytes())
                .key(key.as_bytes())
                .headers(&headers)
                .timestamp_ms(timestamp_ms);
            producer.enqueue(record).await.unwrap();
        }
        producer.close().await.unwrap();
    }

    fn read_back(&self, topic: &str) -> Vec<Value> {
        let start = self.start();
        let consume = ["consume", topic, "--start", &start, "-d", "-O", "json"];
        without_offsets(records(&self.cluster.thalweg(&consume)))
    }

    /// Runs the command with the module and its settings.
    fn run(&self, arguments: &[&str]) -> Vec<Value> {
        let mut settings = vec![format!("--smartmodule-path={}", self.wasm.display())];
        let params = self.case.params.iter();
        settings.extend(params.map(|(key, value)| format!("--param={key}={value}")));
        let policy = self.case.on_error.iter();
        settings.extend(policy.map(|policy| format!("--on-error={policy}")));
        if self.looks_back() {
            settings.push(format!("--lookback-last={LOOK_BACK_LAST}"));
        }
        if let Some(aggregate) = &self.case.aggregate {
            settings.push(format!("--aggregate-initial={}", aggregate.initial));
            settings.extend(aggregate.by_key.then(|| "--aggregate-by-key".to_owned()));
        }
        let mut all = arguments.to_vec();
        all.extend(settings.iter().map(String::as_str));
        records(&self.cluster.thalweg(&all))
    }
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

pub(super) fn without_offsets(mut records: Vec<Value>) -> Vec<Value> {
    for record in &mut records {
        record.as_object_mut().unwrap().remove("offset");
    }
    records
}
