//! The YAML form of a transform: the custom resource that Kubernetes knows. What is not known is refused with
//! its line and the names that there are.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny};
use thalweg_client::resource::{
    BackfillSpec, CanarySpec, OutputPartitioning, StartPosition, TransformSpec,
};
use thalweg_types::{
    AggregateSpec, Capabilities, ChainSpec, CompressionPolicy, HttpCapability, HttpOrigin,
    LateRecords, LookBack, ModuleRef, OnError, ResourceName, SecretName, StepSpec, TopicName,
    WindowShape,
};

use crate::transforms::{WindowForm, duration};

/// A transform as it is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WantedTransform {
    pub(super) name: ResourceName,
    pub(super) spec: TransformSpec,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DocumentForm {
    #[serde(rename = "apiVersion")]
    _api_version: ApiVersion,
    #[serde(rename = "kind")]
    _kind: Kind,
    metadata: MetadataForm,
    spec: SpecForm,
}

#[derive(Debug, Deserialize)]
enum ApiVersion {
    #[serde(rename = "thalweg.dev/v1alpha1")]
    V1Alpha1,
}

#[derive(Debug, Deserialize)]
enum Kind {
    Transform,
}

/// What there is beside the name is for Kubernetes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MetadataForm {
    name: ResourceName,
    #[serde(default, rename = "namespace")]
    _namespace: IgnoredAny,
    #[serde(default, rename = "labels")]
    _labels: IgnoredAny,
    #[serde(default, rename = "annotations")]
    _annotations: IgnoredAny,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SpecForm {
    inputs: Vec<TopicName>,
    outputs: Vec<TopicName>,
    transforms: Vec<StepForm>,
    #[serde(default)]
    start: StartPosition,
    #[serde(default)]
    partitioning: OutputPartitioning,
    #[serde(default = "uncompressed", deserialize_with = "compression")]
    compression: CompressionPolicy,
    #[serde(default)]
    dedup: Option<LookBackForm>,
    #[serde(default)]
    tables: Vec<TopicName>,
    #[serde(default)]
    capabilities: CapabilitiesForm,
    canary: Option<CanaryForm>,
    backfill: Option<BackfillForm>,
    #[serde(default)]
    paused: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StepForm {
    uses: ModuleRef,
    #[serde(default)]
    with: BTreeMap<String, String>,
    #[serde(default)]
    look_back: Option<LookBackForm>,
    #[serde(default)]
    on_error: OnError,
    #[serde(default, deserialize_with = "aggregate")]
    aggregate: Option<AggregateSpec>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct LookBackForm {
    last: Option<u64>,
    age_ms: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AggregateForm {
    #[serde(default)]
    initial: String,
    #[serde(default)]
    by_key: bool,
    window: Option<WindowShape>,
    #[serde(default, deserialize_with = "duration")]
    lateness: Option<Duration>,
    late: Option<LateRecords>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CanaryForm {
    percent: u8,
    transforms: Vec<StepForm>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BackfillForm {
    transforms: Vec<StepForm>,
    outputs: Vec<TopicName>,
    #[serde(default)]
    start: StartPosition,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CapabilitiesForm {
    http: Option<HttpForm>,
    #[serde(default)]
    key_value: bool,
    #[serde(default)]
    secrets: Vec<SecretName>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct HttpForm {
    allow: Vec<HttpOrigin>,
    timeout_ms: Option<u64>,
    concurrency: Option<u32>,
    retries: Option<u32>,
}

/// Reads every document of a file's text.
pub(super) fn read(text: &str) -> Result<Vec<WantedTransform>, serde_yaml::Error> {
    let mut wanted = Vec::new();
    for document in serde_yaml::Deserializer::from_str(text) {
        // What stands between two `---` may be nothing.
        if let Some(form) = Option::<DocumentForm>::deserialize(document)? {
            wanted.push(WantedTransform {
                name: form.metadata.name,
                spec: form.spec.into(),
            });
        }
    }
    if wanted.is_empty() {
        return Err(de::Error::custom(
            "there is no transform: write at least one document with `kind: Transform`",
        ));
    }
    Ok(wanted)
}

impl From<SpecForm> for TransformSpec {
    fn from(form: SpecForm) -> Self {
        Self {
            inputs: form.inputs,
            outputs: form.outputs,
            chain: chain(form.transforms),
            start: form.start,
            partitioning: form.partitioning,
            compression: form.compression,
            dedup: form.dedup.map(Into::into),
            tables: form.tables,
            capabilities: form.capabilities.into(),
            canary: form.canary.map(Into::into),
            backfill: form.backfill.map(Into::into),
            paused: form.paused,
        }
    }
}

fn chain(steps: Vec<StepForm>) -> ChainSpec {
    ChainSpec {
        steps: steps.into_iter().map(Into::into).collect(),
    }
}

impl From<CanaryForm> for CanarySpec {
    fn from(form: CanaryForm) -> Self {
        Self {
            percent: form.percent,
            chain: chain(form.transforms),
        }
    }
}

impl From<BackfillForm> for BackfillSpec {
    fn from(form: BackfillForm) -> Self {
        Self {
            chain: chain(form.transforms),
            outputs: form.outputs,
            start: form.start,
        }
    }
}

impl From<CapabilitiesForm> for Capabilities {
    fn from(form: CapabilitiesForm) -> Self {
        Self {
            http: form.http.map(Into::into),
            key_value: form.key_value,
            secrets: form.secrets,
        }
    }
}

impl From<HttpForm> for HttpCapability {
    fn from(form: HttpForm) -> Self {
        let plain = Self::to(form.allow);
        Self {
            timeout_ms: form.timeout_ms.unwrap_or(plain.timeout_ms),
            concurrency: form.concurrency.unwrap_or(plain.concurrency),
            retries: form.retries.unwrap_or(plain.retries),
            ..plain
        }
    }
}

impl From<StepForm> for StepSpec {
    fn from(form: StepForm) -> Self {
        Self {
            uses: form.uses,
            with: form.with,
            look_back: form.look_back.map(Into::into),
            on_error: form.on_error,
            aggregate: form.aggregate,
        }
    }
}

impl From<LookBackForm> for LookBack {
    fn from(form: LookBackForm) -> Self {
        Self {
            last: form.last,
            age_ms: form.age_ms,
        }
    }
}

fn aggregate<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<AggregateSpec>, D::Error> {
    let Some(form) = Option::<AggregateForm>::deserialize(deserializer)? else {
        return Ok(None);
    };
    let window = WindowForm {
        shape: form.window,
        lateness: form.lateness,
        late: form.late,
    };
    Ok(Some(AggregateSpec {
        initial: form.initial,
        by_key: form.by_key,
        window: window.into_spec().map_err(de::Error::custom)?,
    }))
}

fn uncompressed() -> CompressionPolicy {
    CompressionPolicy::Uncompressed
}

fn compression<'de, D: Deserializer<'de>>(deserializer: D) -> Result<CompressionPolicy, D::Error> {
    let name = String::deserialize(deserializer)?;
    CompressionPolicy::of_name(&name).ok_or_else(|| {
        let names = ["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"];
        de::Error::custom(format!(
            "`{name}` is no compression, expected one of `{}`",
            names.join("`, `")
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATE: &str = "\
apiVersion: thalweg.dev/v1alpha1
kind: Transform
metadata:
  name: late-flights
  labels: {team: delays}
spec:
  inputs: [flights, trains]
  outputs: [late]
  transforms:
    - uses: late@1.2.0
      with: {minutes: '60'}
      onError: dead_letter:failed
    - uses: sum
      aggregate: {initial: '0', byKey: true, window: tumbling:5m, lateness: 10s, late: fail}
  dedup: {last: 1000, ageMs: 60000}
  tables: [airlines, airports]
  capabilities:
    http: {allow: [https://api.example.com, http://127.0.0.1:8080], timeoutMs: 100, retries: 0}
    keyValue: true
    secrets: [api-token]
  canary: {percent: 25, transforms: [{uses: late@1.3.0}]}
  backfill: {transforms: [{uses: late@2.0.0}], outputs: [later], start: offset:5}
  start: end
  partitioning: preserve
  compression: zstd
  paused: true
";

    fn error(text: &str) -> String {
        read(text).unwrap_err().to_string()
    }

    #[test]
    fn every_field_is_read_and_what_is_left_out_is_the_default() {
        let short = "\
---
apiVersion: thalweg.dev/v1alpha1
kind: Transform
metadata: {name: short}
spec: {inputs: [a], outputs: [b], transforms: [{uses: late}]}
---
";

        let wanted = read(&format!("{LATE}{short}")).unwrap();

        assert_eq!(wanted.len(), 2);
        let long = &wanted[0].spec;
        assert_eq!(wanted[0].name.as_str(), "late-flights");
        assert_eq!(long.inputs.len(), 2);
        assert_eq!(long.chain.steps[0].with["minutes"], "60");
        assert_eq!(
            long.chain.steps[0].on_error.to_string(),
            "dead_letter:failed"
        );
        let aggregate = long.chain.steps[1].aggregate.as_ref().unwrap();
        let window = aggregate.window.unwrap();
        assert_eq!(window.shape.to_string(), "tumbling:5m");
        assert_eq!(
            (window.lateness_ms, window.late),
            (10_000, LateRecords::Fail)
        );
        let dedup = LookBack {
            last: Some(1_000),
            age_ms: Some(60_000),
        };
        assert_eq!(long.dedup, Some(dedup));
        assert_eq!(long.tables.len(), 2);
        let http = long.capabilities.http.as_ref().unwrap();
        assert_eq!(http.allow[1].to_string(), "http://127.0.0.1:8080");
        assert_eq!(
            (http.timeout_ms, http.concurrency, http.retries),
            (100, 16, 0)
        );
        assert!(long.capabilities.key_value);
        assert_eq!(long.capabilities.secrets[0].as_str(), "api-token");
        let backfill = long.backfill.as_ref().unwrap();
        assert_eq!(backfill.chain.steps[0].uses.to_string(), "late@2.0.0");
        assert_eq!(backfill.outputs[0].as_str(), "later");
        assert_eq!(backfill.start.to_string(), "offset:5");
        let canary = long.canary.as_ref().unwrap();
        assert_eq!(canary.percent, 25);
        assert_eq!(canary.chain.steps[0].uses.to_string(), "late@1.3.0");
        assert_eq!(long.start, StartPosition::End);
        assert_eq!(long.partitioning, OutputPartitioning::Preserve);
        assert_eq!(long.compression, CompressionPolicy::Zstd);
        assert!(long.paused);
        let short = &wanted[1].spec;
        assert_eq!(short.start, StartPosition::Beginning);
        assert_eq!(short.compression, CompressionPolicy::Uncompressed);
        assert!(short.tables.is_empty());
        assert!(short.capabilities.is_empty());
        assert_eq!((&short.canary, &short.backfill), (&None, &None));
        assert!(!short.paused);
    }

    #[test]
    fn what_is_not_known_is_refused_with_its_line_and_what_there_is() {
        for (from, to, expected) in [
            (
                "  start: end",
                "  begin: end",
                "expected one of `inputs`, `outputs`, `transforms`, `start`",
            ),
            ("onError", "on_error", "`lookBack`, `onError`"),
            ("kind: Transform", "kind: Topic", "expected `Transform`"),
            ("v1alpha1", "v2", "expected `thalweg.dev/v1alpha1`"),
            ("start: end", "start: latest", "`beginning`, `end`"),
            ("preserve", "random", "`key` or `preserve`"),
            ("zstd", "rar", "`lz4`, `zstd`"),
            ("late-flights", "Late", "lower-case letters"),
            ("labels", "label", "`labels`"),
            ("tumbling:5m", "daily", "write `tumbling:<size>`"),
            ("window: tumbling:5m, ", "", "`lateness` is for windows"),
            ("late: fail", "late: keep", "expected `drop` or `fail`"),
            ("byKey", "by_key", "`byKey`, `window`, `lateness`, `late`"),
            ("ageMs", "age", "expected `last` or `ageMs`"),
            (
                "timeoutMs",
                "timeout",
                "`allow`, `timeoutMs`, `concurrency`",
            ),
            ("percent", "share", "`percent` or `transforms`"),
            ("keyValue", "key_value", "`http`, `keyValue`, `secrets`"),
            ("example.com,", "example.com/v1,", "it has a path"),
            ("[api-token]", "[..]", "no secret's name"),
        ] {
            let error = error(&LATE.replace(from, to));
            assert!(error.contains(expected), "{to}: {error}");
            assert!(error.contains("line "), "{to}: {error}");
        }
        let none = error("# nothing\n");
        assert!(none.contains("kind: Transform"), "{none}");
    }
}
