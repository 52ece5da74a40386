//! What the modules of a transform may do beyond their records.

use thalweg_k8s_crd::{Capabilities as Object, HttpCapability as HttpObject};
use thalweg_types::{Capabilities, HttpCapability};

pub(super) fn capabilities_from(object: Object) -> Result<Capabilities, String> {
    let Object {
        http,
        key_value,
        secrets,
    } = object;
    Ok(Capabilities {
        http: http.map(http_from).transpose()?,
        key_value,
        secrets: parse_all(&secrets)?,
    })
}

fn http_from(object: HttpObject) -> Result<HttpCapability, String> {
    let HttpObject {
        allow,
        timeout_ms,
        concurrency,
        retries,
    } = object;
    let count = |number: Option<i32>| number.and_then(|number| u32::try_from(number).ok());
    let timeout_ms = timeout_ms.and_then(|ms| u64::try_from(ms).ok());
    Ok(HttpCapability {
        allow: parse_all(&allow)?,
        timeout_ms: timeout_ms.unwrap_or(HttpCapability::TIMEOUT_MS_DEFAULT),
        concurrency: count(concurrency).unwrap_or(HttpCapability::CONCURRENCY_DEFAULT),
        retries: count(retries).unwrap_or(HttpCapability::RETRIES_DEFAULT),
    })
}

fn parse_all<T>(texts: &[String]) -> Result<Vec<T>, String>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    let one = |text: &String| text.parse().map_err(|error| format!("{error}"));
    texts.iter().map(one).collect()
}

/// What stands for a default is left out, as its author most likely did.
pub(super) fn capabilities_of(capabilities: &Capabilities) -> Object {
    let Capabilities {
        http,
        key_value,
        secrets,
    } = capabilities;
    Object {
        http: http.as_ref().map(http_of),
        key_value: *key_value,
        secrets: secrets.iter().map(ToString::to_string).collect(),
    }
}

fn http_of(http: &HttpCapability) -> HttpObject {
    let HttpCapability {
        allow,
        timeout_ms,
        concurrency,
        retries,
    } = http;
    let rare = |number: u32, default: u32| {
        let number = Some(number).filter(|number| *number != default);
        number.map(|number| i32::try_from(number).unwrap_or(i32::MAX))
    };
    let timeout_ms = Some(*timeout_ms).filter(|ms| *ms != HttpCapability::TIMEOUT_MS_DEFAULT);
    HttpObject {
        allow: allow.iter().map(ToString::to_string).collect(),
        timeout_ms: timeout_ms.map(|ms| i64::try_from(ms).unwrap_or(i64::MAX)),
        concurrency: rare(*concurrency, HttpCapability::CONCURRENCY_DEFAULT),
        retries: rare(*retries, HttpCapability::RETRIES_DEFAULT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_left_out() {
        let origin = "https://api.example.com".parse().unwrap();
        let plain = Capabilities {
            http: Some(HttpCapability::to(vec![origin])),
            ..Capabilities::default()
        };

        let object = capabilities_of(&plain);

        let expected = HttpObject {
            allow: vec!["https://api.example.com".to_owned()],
            ..HttpObject::default()
        };
        assert_eq!(object.http, Some(expected));
        assert_eq!(capabilities_from(object), Ok(plain));
    }
}
