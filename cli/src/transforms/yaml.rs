//! The YAML form of a chain. Every error has the line and the path in the document, and for an
//! unknown field the names that there are.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde_yaml::Value;
use thalweg_types::{
    AggregateSpec, LateRecords, LookBack, ModuleRef, OnError, WindowShape, parse_duration,
};

use super::{Transform, Uses, WindowForm};

/// A whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileForm {
    #[serde(deserialize_with = "steps")]
    transforms: Vec<StepForm>,
}

/// One step.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StepForm {
    #[serde(deserialize_with = "uses")]
    uses: Uses,
    #[serde(default, deserialize_with = "params")]
    with: BTreeMap<String, String>,
    #[serde(default)]
    lookback: Option<LookBackForm>,
    #[serde(default, deserialize_with = "on_error")]
    on_error: OnError,
    #[serde(default, deserialize_with = "aggregate")]
    aggregate: Option<AggregateSpec>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AggregateForm {
    #[serde(default)]
    initial: Value,
    #[serde(default)]
    by_key: bool,
    window: Option<WindowShape>,
    #[serde(default, deserialize_with = "duration")]
    lateness: Option<Duration>,
    late: Option<LateRecords>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LookBackForm {
    last: Option<u64>,
    #[serde(default, deserialize_with = "duration")]
    age: Option<Duration>,
}

/// Reads a file's text. Relative paths of modules begin in `folder`.
pub(super) fn file(text: &str, folder: &Path) -> Result<Vec<Transform>, serde_yaml::Error> {
    let form: FileForm = serde_yaml::from_str(text)?;
    let in_folder = |mut step: Transform| {
        if let Uses::File(path) = &mut step.uses {
            *path = folder.join(&path);
        }
        step
    };
    Ok(form
        .transforms
        .into_iter()
        .map(|step| in_folder(step.into()))
        .collect())
}

/// Reads one step.
pub(super) fn step(line: &str) -> Result<Transform, serde_yaml::Error> {
    serde_yaml::from_str::<StepForm>(line).map(Into::into)
}

impl From<StepForm> for Transform {
    fn from(form: StepForm) -> Self {
        let look_back = form.lookback.map(|form| LookBack {
            last: form.last,
            age_ms: form
                .age
                .map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
        });
        Self {
            uses: form.uses,
            with: form.with,
            look_back: look_back.filter(|look_back| *look_back != LookBack::default()),
            on_error: form.on_error,
            aggregate: form.aggregate,
        }
    }
}

fn steps<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<StepForm>, D::Error> {
    let steps = Vec::deserialize(deserializer)?;
    if steps.is_empty() {
        return Err(de::Error::custom(
            "there is no step: write at least one, `- uses: NAME`",
        ));
    }
    Ok(steps)
}

/// What has a `/` or ends in `.wasm` is a file, which no module's name can be.
fn uses<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Uses, D::Error> {
    struct Module;
    impl Visitor<'_> for Module {
        type Value = Uses;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a SmartModule's name or the path of a wasm file")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Uses, E> {
            if text.contains('/') || text.ends_with(".wasm") {
                return Ok(Uses::File(text.into()));
            }
            let module: Result<ModuleRef, _> = text.parse();
            module.map(Uses::Registered).map_err(|error| {
                E::custom(format!(
                    "`{text}` is neither a SmartModule's name nor a path with `/` or `.wasm`: {error}"
                ))
            })
        }
    }
    deserializer.deserialize_str(Module)
}

/// Texts as they are, everything else as JSON.
fn params<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    let params = Option::<BTreeMap<String, Value>>::deserialize(deserializer)?;
    let as_text = |(key, value): (String, Value)| {
        let text = text_of(&key, value).map_err(de::Error::custom)?;
        Ok((key, text))
    };
    params
        .unwrap_or_default()
        .into_iter()
        .map(as_text)
        .collect()
}

/// A text as it is, anything else as JSON.
fn text_of(field: &str, value: Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text),
        other => {
            serde_json::to_string(&other).map_err(|error| format!("`{field}` is no JSON: {error}"))
        }
    }
}

/// What an aggregate starts from is read as a parameter is.
fn aggregate<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<AggregateSpec>, D::Error> {
    let Some(form) = Option::<AggregateForm>::deserialize(deserializer)? else {
        return Ok(None);
    };
    let initial = match form.initial {
        Value::Null => String::new(),
        value => text_of("initial", value).map_err(de::Error::custom)?,
    };
    let window = WindowForm {
        shape: form.window,
        lateness: form.lateness,
        late: form.late,
    };
    Ok(Some(AggregateSpec {
        initial,
        by_key: form.by_key,
        window: window.into_spec().map_err(de::Error::custom)?,
    }))
}

/// A duration with its unit.
pub(crate) fn duration<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    struct Text;
    impl Visitor<'_> for Text {
        type Value = Option<Duration>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a duration, for example `1h`")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
            parse_duration(text).map(Some).map_err(E::custom)
        }
    }
    deserializer.deserialize_str(Text)
}

/// `stop`, `skip`, `dead_letter:TOPIC`, or `dead_letter: TOPIC` as a map.
fn on_error<'de, D: Deserializer<'de>>(deserializer: D) -> Result<OnError, D::Error> {
    struct Policy;
    impl<'de> Visitor<'de> for Policy {
        type Value = OnError;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("`stop`, `skip` or `dead_letter: TOPIC`")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<OnError, E> {
            text.parse().map_err(E::custom)
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<OnError, A::Error> {
            let key: Option<String> = map.next_key()?;
            match key.as_deref() {
                Some("dead_letter") => {}
                Some(other) => return Err(de::Error::unknown_field(other, &["dead_letter"])),
                None => return Err(de::Error::missing_field("dead_letter")),
            }
            let topic: String = map.next_value()?;
            if let Some(more) = map.next_key::<String>()? {
                return Err(de::Error::unknown_field(&more, &["dead_letter"]));
            }
            topic
                .parse()
                .map(OnError::DeadLetter)
                .map_err(de::Error::custom)
        }
    }
    deserializer.deserialize_any(Policy)
}

#[cfg(test)]
mod tests {
    use thalweg_types::WindowSpec;

    use super::*;

    fn file_error(text: &str) -> String {
        file(text, Path::new("")).unwrap_err().to_string()
    }

    #[test]
    fn every_field_is_read() {
        let text = "\
transforms:
  - uses: late@1.2.0
    with:
      minutes: 60
      carrier: UA
      airports: [EWR, JFK]
    lookback:
      last: 100
      age: 1h
    on_error: skip
  - uses: modules/mask.wasm
    on_error:
      dead_letter: flights-failed
    aggregate:
      initial: {count: 0}
      by_key: true
      window: hopping:1h:5m
      lateness: 10s
      late: fail
  - uses: upper
    lookback: {}
    on_error: dead_letter:flights-failed
";

        let steps = file(text, Path::new("/etc/chains")).unwrap();

        let with: Vec<_> = steps[0]
            .with
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .collect();
        assert_eq!(
            with,
            [
                ("airports", r#"["EWR","JFK"]"#),
                ("carrier", "UA"),
                ("minutes", "60")
            ]
        );
        assert_eq!(
            steps[0].uses,
            Uses::Registered("late@1.2.0".parse().unwrap())
        );
        let look_back = LookBack {
            last: Some(100),
            age_ms: Some(3_600_000),
        };
        assert_eq!(steps[0].look_back, Some(look_back));
        assert_eq!(steps[0].on_error, OnError::Skip);
        let to_topic = OnError::DeadLetter("flights-failed".parse().unwrap());
        assert_eq!(
            steps[1].uses,
            Uses::File("/etc/chains/modules/mask.wasm".into())
        );
        assert_eq!(
            (&steps[1].on_error, &steps[2].on_error),
            (&to_topic, &to_topic)
        );
        assert_eq!(steps[2].look_back, None);
        let aggregate = AggregateSpec {
            initial: r#"{"count":0}"#.to_owned(),
            by_key: true,
            window: Some(WindowSpec {
                shape: "hopping:1h:5m".parse().unwrap(),
                lateness_ms: 10_000,
                late: LateRecords::Fail,
            }),
        };
        assert_eq!(steps[1].aggregate, Some(aggregate));
    }

    #[test]
    fn an_unknown_field_is_refused_with_its_place_and_the_known_names() {
        let error = file_error("transforms:\n  - uses: late\n    whit: {a: b}\n");

        assert!(
            error.contains("transforms[0]: unknown field `whit`"),
            "{error}"
        );
        assert!(error.contains("`uses`, `with`, `lookback`"), "{error}");
        assert!(error.contains("line 3"), "{error}");
        let error = file_error("transform:\n  - uses: late\n");
        assert!(error.contains("expected `transforms`"), "{error}");
        let error = file_error("transforms:\n  - uses: late\n    lookback: {first: 3}\n");
        assert!(error.contains("expected `last` or `age`"), "{error}");
        let error = file_error("transforms:\n  - uses: late\n    on_error: {dead: x}\n");
        assert!(
            error.contains("expected `dead_letter`") && error.contains("line 3"),
            "{error}"
        );
    }

    #[test]
    fn values_that_mean_nothing_are_refused_with_what_would_do() {
        for (text, expected) in [
            ("transforms: []\n", "at least one"),
            ("transforms:\n  - with: {a: b}\n", "missing field `uses`"),
            ("transforms:\n  - uses: Late\n", "`.wasm`"),
            (
                "transforms:\n  - uses: a\n    on_error: ignore\n",
                "dead_letter:<topic>",
            ),
            (
                "transforms:\n  - uses: a\n    lookback: {age: soon}\n",
                "`soon` is not a duration",
            ),
            (
                "transforms:\n  - uses: a\n    aggregate: {by-key: true}\n",
                "expected one of `initial`, `by_key`, `window`, `lateness`, `late`",
            ),
            (
                "transforms:\n  - uses: a\n    aggregate: {window: sliding:5m}\n",
                "write `tumbling:<size>`",
            ),
            (
                "transforms:\n  - uses: a\n    aggregate: {lateness: 5s}\n",
                "`lateness` is for windows",
            ),
            (
                "transforms:\n  - uses: a\n    aggregate: {window: session:5m, late: keep}\n",
                "expected `drop` or `fail`",
            ),
            (
                "transforms:\n  - uses: a\n    lookback: {last: -1}\n",
                "u64",
            ),
            (
                "transforms:\n  - uses: a\n    on_error: {dead_letter: 'a b'}\n",
                "character",
            ),
        ] {
            let error = file_error(text);
            assert!(error.contains(expected), "{text}: {error}");
            let has_place = error.contains("line ") || text == "transforms: []\n";
            assert!(has_place, "{text}: {error}");
        }
    }

    #[test]
    fn a_line_is_one_step() {
        let step = step(r#"{"uses": "jolt", "with": {"spec": [{"operation": "shift"}]}}"#).unwrap();

        assert_eq!(step.with["spec"], r#"[{"operation":"shift"}]"#);
    }
}
