//! What the modules of a transform may be allowed beyond their records. Pure.

use std::collections::BTreeSet;
use std::fmt::Display;

use thalweg_types::resource::TransformSpec;
use thalweg_types::{Capabilities, HttpCapability};

/// What is wrong, and in which field of the capabilities. `aggregate` is the step that accumulates, counted from 0.
pub(super) fn problem(spec: &TransformSpec, aggregate: Option<usize>) -> Option<(String, String)> {
    let Capabilities {
        http,
        key_value: _,
        secrets,
    } = &spec.capabilities;
    let secret = listed("secrets", secrets, 0, Capabilities::SECRETS_MAX);
    let Some(http) = http else {
        return secret.or_else(|| {
            let reason =
                "only requests carry secrets: allow some with `http`, or leave `secrets` out";
            (!secrets.is_empty()).then(|| ("secrets".to_owned(), reason.to_owned()))
        });
    };
    bounds(http)
        .or_else(|| beside_state(spec, aggregate))
        .or(secret)
}

fn bounds(http: &HttpCapability) -> Option<(String, String)> {
    let HttpCapability {
        allow,
        timeout_ms,
        concurrency,
        retries,
    } = http;
    let within = |field: &str, value: u64, from: u64, to: u64, unit: &str| {
        (!(from..=to).contains(&value)).then(|| {
            let reason = format!("is {value}{unit}, {from} to {to} are allowed");
            (format!("http.{field}"), reason)
        })
    };
    let retries_max = u64::from(HttpCapability::RETRIES_MAX);
    let at_a_time_max = u64::from(HttpCapability::CONCURRENCY_MAX);
    listed("http.allow", allow, 1, HttpCapability::ORIGINS_MAX)
        .or_else(|| {
            within(
                "timeout_ms",
                *timeout_ms,
                1,
                HttpCapability::TIMEOUT_MS_MAX,
                " ms",
            )
        })
        .or_else(|| within("concurrency", u64::from(*concurrency), 1, at_a_time_max, ""))
        .or_else(|| within("retries", u64::from(*retries), 0, retries_max, ""))
}

/// The record after an answer is the record before it once more: what counts records would count it twice.
fn beside_state(spec: &TransformSpec, aggregate: Option<usize>) -> Option<(String, String)> {
    let what = match (spec.dedup, aggregate) {
        (Some(_), _) => "which `dedup` would leave out: drop duplicates".to_owned(),
        (None, Some(step)) => format!("and step {} would count them twice: aggregate", step + 1),
        (None, None) => return None,
    };
    let reason = format!(
        "records that wait for an answer go through the chain again, {what} in a transform on its output"
    );
    Some(("http".to_owned(), reason))
}

/// A list that has as many as are allowed, and each once.
fn listed<T: Ord + Display>(
    field: &str,
    all: &[T],
    from: usize,
    to: usize,
) -> Option<(String, String)> {
    if !(from..=to).contains(&all.len()) {
        let reason = format!("has {}, {from} to {to} are allowed", all.len());
        return Some((field.to_owned(), reason));
    }
    let mut seen = BTreeSet::new();
    let mut numbered = all.iter().enumerate();
    let (index, twice) = numbered.find(|(_, one)| !seen.insert(*one))?;
    let reason = format!("`{twice}` is named twice; name each once");
    Some((format!("{field}[{index}]"), reason))
}

#[cfg(test)]
mod tests {
    use thalweg_types::LookBack;

    use super::super::rules::tests::{observed, summing, transform};
    use super::super::rules::{check, keeps_state};
    use super::*;

    fn http() -> HttpCapability {
        HttpCapability::to(vec!["https://api.example.com".parse().unwrap()])
    }

    fn with(http: Option<HttpCapability>, secrets: &[&str]) -> TransformSpec {
        let mut spec = transform("x", 1, "a", "b").spec;
        spec.capabilities = Capabilities {
            http,
            key_value: false,
            secrets: secrets.iter().map(|name| name.parse().unwrap()).collect(),
        };
        spec
    }

    fn checked(spec: &TransformSpec) -> Result<(), String> {
        let checked = check(&"x".parse().unwrap(), spec, &observed());
        checked.map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_within_bounds_is_allowed_and_keeps_state() {
        let mut key_value = with(None, &[]);
        key_value.capabilities.key_value = true;
        let requests = with(Some(http()), &["api-token"]);

        for spec in [&key_value, &requests] {
            assert_eq!(checked(spec), Ok(()));
            assert!(keeps_state(spec, &observed()));
        }
        assert!(!keeps_state(&with(None, &[]), &observed()));
    }

    #[test]
    fn what_is_beyond_them_is_named() {
        let changed = |change: fn(&mut HttpCapability)| {
            let mut http = http();
            change(&mut http);
            with(Some(http), &[])
        };
        let many: Vec<_> = (0..33).map(|number| format!("s{number}")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        for (spec, expected) in [
            (
                changed(|http| http.allow.clear()),
                "http.allow: has 0, 1 to 32",
            ),
            (
                changed(|http| http.allow.push(http.allow[0].clone())),
                "http.allow[1]: `https://api.example.com` is named twice",
            ),
            (
                changed(|http| http.timeout_ms = 0),
                "http.timeout_ms: is 0 ms, 1 to 60000",
            ),
            (
                changed(|http| http.concurrency = 257),
                "http.concurrency: is 257, 1 to 256",
            ),
            (
                changed(|http| http.retries = 11),
                "http.retries: is 11, 0 to 10",
            ),
            (with(Some(http()), &many), "secrets: has 33, 0 to 32"),
            (with(Some(http()), &["s", "s"]), "secrets[1]: `s` is named"),
            (with(None, &["s"]), "secrets: only requests carry secrets"),
        ] {
            let error = checked(&spec).unwrap_err();
            let expected = format!("spec.capabilities.{expected}");
            assert!(error.starts_with(&expected), "{error}");
        }
    }

    #[test]
    fn requests_have_one_input_and_count_nothing() {
        let mut several = transform("x", 1, "a c", "b").spec;
        several.capabilities.http = Some(http());
        let mut once = with(Some(http()), &[]);
        once.dedup = Some(LookBack {
            last: Some(1),
            age_ms: None,
        });
        let mut sums = summing("a").spec;
        sums.capabilities.http = Some(http());

        for (spec, expected) in [
            (several, "spec.inputs: a transform that keeps state has one"),
            (once, "spec.capabilities.http: records that wait"),
            (sums, "and step 2 would count them twice: aggregate in a"),
        ] {
            let error = checked(&spec).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
