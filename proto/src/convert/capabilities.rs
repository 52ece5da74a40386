//! What the modules of a transform may do beyond their records.

use thalweg_types::{Capabilities, HttpCapability};

use super::field::{InvalidField, parse};
use crate::v1;

impl TryFrom<v1::Capabilities> for Capabilities {
    type Error = InvalidField;

    fn try_from(message: v1::Capabilities) -> Result<Self, InvalidField> {
        let v1::Capabilities {
            http,
            key_value,
            secrets,
        } = message;
        let http = http.map(HttpCapability::try_from).transpose();
        Ok(Self {
            http: http.map_err(|error| error.under("http"))?,
            key_value,
            secrets: parse_all("secrets", &secrets)?,
        })
    }
}

impl From<Capabilities> for v1::Capabilities {
    fn from(capabilities: Capabilities) -> Self {
        let Capabilities {
            http,
            key_value,
            secrets,
        } = capabilities;
        Self {
            http: http.map(Into::into),
            key_value,
            secrets: secrets.into_iter().map(String::from).collect(),
        }
    }
}

impl TryFrom<v1::HttpCapability> for HttpCapability {
    type Error = InvalidField;

    fn try_from(message: v1::HttpCapability) -> Result<Self, InvalidField> {
        let v1::HttpCapability {
            allow,
            timeout_ms,
            concurrency,
            retries,
        } = message;
        Ok(Self {
            allow: parse_all("allow", &allow)?,
            timeout_ms: timeout_ms.unwrap_or(Self::TIMEOUT_MS_DEFAULT),
            concurrency: concurrency.unwrap_or(Self::CONCURRENCY_DEFAULT),
            retries: retries.unwrap_or(Self::RETRIES_DEFAULT),
        })
    }
}

impl From<HttpCapability> for v1::HttpCapability {
    fn from(http: HttpCapability) -> Self {
        let HttpCapability {
            allow,
            timeout_ms,
            concurrency,
            retries,
        } = http;
        Self {
            allow: allow.into_iter().map(String::from).collect(),
            timeout_ms: Some(timeout_ms),
            concurrency: Some(concurrency),
            retries: Some(retries),
        }
    }
}

fn parse_all<T>(field: &str, texts: &[String]) -> Result<Vec<T>, InvalidField>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    let one = |(index, text): (usize, &String)| parse(&format!("{field}[{index}]"), text);
    texts.iter().enumerate().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_the_default() {
        let message = v1::HttpCapability {
            allow: vec!["https://api.example.com".to_owned()],
            ..v1::HttpCapability::default()
        };

        let http = HttpCapability::try_from(message).unwrap();

        let origin = "https://api.example.com".parse().unwrap();
        assert_eq!(http, HttpCapability::to(vec![origin]));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_path() {
        let message = v1::Capabilities {
            http: Some(v1::HttpCapability {
                allow: vec!["https://a".to_owned(), "https://a/b".to_owned()],
                ..v1::HttpCapability::default()
            }),
            ..v1::Capabilities::default()
        };

        let error = Capabilities::try_from(message).unwrap_err();

        assert_eq!(error.path, "http.allow[1]");
    }
}
