//! The options that say what the modules of a transform may do beyond their records, and how that is shown.

use std::time::Duration;

use thalweg_types::{
    Capabilities, HttpCapability, HttpOrigin, SecretName, format_duration_ms, parse_duration,
};

/// What the modules may do.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Capabilities")]
pub(super) struct CapabilityArguments {
    /// Let the modules make requests to this origin, for example `https://api.example.com`; may be repeated.
    #[arg(long, value_name = "ORIGIN")]
    allow_http: Vec<HttpOrigin>,

    /// How long one attempt of a request may take, at most 60s. Default: 5s.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, requires = "allow_http")]
    http_timeout: Option<Duration>,

    /// How many requests may be on their way at a time for each input partition, at most 256.
    /// Default: 16.
    #[arg(long, value_name = "N", requires = "allow_http")]
    http_concurrency: Option<u32>,

    /// How many attempts may follow the first, at most 10. Default: 3.
    #[arg(long, value_name = "N", requires = "allow_http")]
    http_retries: Option<u32>,

    /// Let the modules keep values under keys of their own.
    #[arg(long)]
    key_value: bool,

    /// Let requests carry this secret; may be repeated.
    #[arg(long, value_name = "NAME", requires = "allow_http")]
    secret: Vec<SecretName>,
}

impl From<CapabilityArguments> for Capabilities {
    fn from(arguments: CapabilityArguments) -> Self {
        let CapabilityArguments {
            allow_http,
            http_timeout,
            http_concurrency,
            http_retries,
            key_value,
            secret,
        } = arguments;
        let http = (!allow_http.is_empty()).then(|| {
            let plain = HttpCapability::to(allow_http);
            let timeout_ms = http_timeout.map(|timeout| timeout.as_millis());
            let timeout_ms = timeout_ms.map(|ms| u64::try_from(ms).unwrap_or(u64::MAX));
            HttpCapability {
                timeout_ms: timeout_ms.unwrap_or(plain.timeout_ms),
                concurrency: http_concurrency.unwrap_or(plain.concurrency),
                retries: http_retries.unwrap_or(plain.retries),
                ..plain
            }
        });
        Self {
            http,
            key_value,
            secrets: secret,
        }
    }
}

/// `http https://api.example.com (timeout 5 s, 16 at a time, 3 retries), key-value, secrets api-token`.
pub(super) fn capabilities_text(capabilities: &Capabilities) -> String {
    let Capabilities {
        http,
        key_value,
        secrets,
    } = capabilities;
    let http = http.as_ref().map(http_text);
    let key_value = key_value.then(|| "key-value".to_owned());
    let secrets = (!secrets.is_empty()).then(|| format!("secrets {}", spaced(secrets)));
    let all: Vec<_> = http.into_iter().chain(key_value).chain(secrets).collect();
    all.join(", ")
}

fn http_text(http: &HttpCapability) -> String {
    let HttpCapability {
        allow,
        timeout_ms,
        concurrency,
        retries,
    } = http;
    let noun = if *retries == 1 { "retry" } else { "retries" };
    format!(
        "http {} (timeout {}, {concurrency} at a time, {retries} {noun})",
        spaced(allow),
        format_duration_ms(*timeout_ms)
    )
}

fn spaced<T: ToString>(all: &[T]) -> String {
    let texts: Vec<_> = all.iter().map(ToString::to_string).collect();
    texts.join(" ")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        capabilities: CapabilityArguments,
    }

    fn capabilities(line: &str) -> Result<Capabilities, String> {
        let words = ["test"].into_iter().chain(line.split_whitespace());
        let line = Line::try_parse_from(words);
        line.map(|line| line.capabilities.into())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_allowed_is_said_by_flags_and_shown() {
        let plain = "--allow-http https://api.example.com";
        let all = "--allow-http https://a --allow-http http://b:81 --http-timeout 250ms --http-concurrency 1 --http-retries 1 --key-value --secret t --secret u";
        for (line, shown) in [
            ("", ""),
            ("--key-value", "key-value"),
            (
                plain,
                "http https://api.example.com (timeout 5s, 16 at a time, 3 retries)",
            ),
            (
                all,
                "http https://a http://b:81 (timeout 250ms, 1 at a time, 1 retry), key-value, secrets t u",
            ),
        ] {
            assert_eq!(capabilities_text(&capabilities(line).unwrap()), shown);
        }
    }

    #[test]
    fn what_means_nothing_is_refused_with_what_would_do() {
        for (line, expected) in [
            ("--allow-http example.com", "`https://api.example.com`"),
            ("--http-timeout 5s", "--allow-http"),
            ("--http-concurrency 5", "--allow-http"),
            ("--http-retries 5", "--allow-http"),
            ("--secret t", "--allow-http"),
            ("--allow-http http://a --secret a/b", "no secret's name"),
            (
                "--allow-http http://a --http-timeout soon",
                "not a duration",
            ),
        ] {
            let error = capabilities(line).unwrap_err();
            assert!(error.contains(expected), "{line}: {error}");
        }
    }
}
