//! A request as a module writes it: `docs/formats/smartmodule-abi.md`, HTTP requests. Pure.

use reqwest::Method;
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use thalweg_types::HttpOrigin;

/// What stands before and behind the name of a secret in the value of a header.
const SECRET: (&str, &str) = ("{{secret:", "}}");

/// A request, whose headers may still name secrets.
#[derive(Debug, Clone)]
pub(super) struct HttpRequest {
    pub(super) method: Method,
    pub(super) url: Url,
    headers: Vec<(HeaderName, String)>,
    pub(super) body: Vec<u8>,
    origin: HttpOrigin,
}

/// Why a text is no request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidRequest {
    #[error("the request has no line of a method and an address, or no empty line before its body")]
    Malformed,
    #[error("`{0}` is no method")]
    Method(String),
    #[error("`{url}` is no address for a request: {reason}")]
    Url { url: String, reason: String },
    #[error("`{0}` is no header, or one that the host sets itself")]
    Header(String),
}

impl HttpRequest {
    pub(super) fn parse(text: &[u8]) -> Result<Self, InvalidRequest> {
        let end = text.windows(2).position(|pair| pair == b"\n\n");
        let (head, body) = text.split_at(end.ok_or(InvalidRequest::Malformed)?);
        let head = std::str::from_utf8(head).map_err(|_| InvalidRequest::Malformed)?;
        let mut lines = head.split('\n');
        let first = lines.next().and_then(|line| line.split_once(' '));
        let (method, url) = first.ok_or(InvalidRequest::Malformed)?;
        let (url, origin) = address(url)?;
        Ok(Self {
            method: Method::from_bytes(method.as_bytes())
                .map_err(|_| InvalidRequest::Method(method.to_owned()))?,
            url,
            origin,
            headers: lines.map(header).collect::<Result<_, _>>()?,
            body: body[2..].to_vec(),
        })
    }

    /// Whom it goes to.
    pub(super) fn origin(&self) -> HttpOrigin {
        self.origin.clone()
    }

    /// The secrets that its headers name.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &str> {
        let values = self.headers.iter().map(|(_, value)| value.as_str());
        values.flat_map(secrets_in)
    }

    /// Its headers, with what `secret` gives in the place of names; `None` where that is no value of a header.
    pub(super) fn headers(&self, secret: impl Fn(&str) -> Option<String>) -> Option<HeaderMap> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let mut value = value.clone();
            for name in secrets_in(&value.clone()) {
                let (before, behind) = SECRET;
                value = value.replace(&format!("{before}{name}{behind}"), &secret(name)?);
            }
            let mut value = HeaderValue::from_str(&value).ok()?;
            value.set_sensitive(true);
            headers.append(name.clone(), value);
        }
        Some(headers)
    }
}

fn address(text: &str) -> Result<(Url, HttpOrigin), InvalidRequest> {
    let invalid = |reason: String| InvalidRequest::Url {
        url: text.to_owned(),
        reason,
    };
    let url = Url::parse(text).map_err(|error| invalid(error.to_string()))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(invalid("write who asks in a header".to_owned()));
    }
    let origin = url.origin().ascii_serialization().parse::<HttpOrigin>();
    let origin = origin.map_err(|error| invalid(error.to_string()))?;
    Ok((url, origin))
}

fn header(line: &str) -> Result<(HeaderName, String), InvalidRequest> {
    let invalid = || InvalidRequest::Header(line.to_owned());
    let (name, value) = line.split_once(": ").ok_or_else(invalid)?;
    let name: HeaderName = name.parse().map_err(|_| invalid())?;
    // What would say otherwise than the address and the body do where the request goes and ends.
    let own = ["host", "content-length", "transfer-encoding", "connection"];
    let is_value = HeaderValue::from_str(value).is_ok();
    if own.contains(&name.as_str()) || !is_value {
        return Err(invalid());
    }
    Ok((name, value.to_owned()))
}

fn secrets_in(value: &str) -> impl Iterator<Item = &str> {
    let (before, behind) = SECRET;
    let parts = value.split(before).skip(1);
    parts.filter_map(move |part| Some(part.split_once(behind)?.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_as_it_is_written() {
        let text = b"POST https://API.example.com:443/v1?q=1\nx-a: b: c\nauthorization: Bearer {{secret:token}}\n\nbody\n\nmore";
        let request = HttpRequest::parse(text).unwrap();

        assert_eq!(request.method, Method::POST);
        assert_eq!(request.url.as_str(), "https://api.example.com/v1?q=1");
        assert_eq!(request.origin().to_string(), "https://api.example.com");
        assert_eq!(request.body, b"body\n\nmore");
        assert_eq!(request.secrets().collect::<Vec<_>>(), ["token"]);
        let headers = request.headers(|name| Some(format!("<{name}>"))).unwrap();
        assert_eq!(headers["authorization"], "Bearer <token>");
        assert_eq!(headers["x-a"], "b: c");
        assert!(request.headers(|_| None).is_none());
        assert!(request.headers(|_| Some("a\nb".to_owned())).is_none());
    }

    #[test]
    fn what_is_no_request_or_would_go_elsewhere_is_refused() {
        for text in [
            "",
            "GET http://a",
            "GET\n\n",
            "G T http://a\n\n",
            "GET ftp://a\n\n",
            "GET file:///etc/passwd\n\n",
            "GET /x\n\n",
            "GET http://user:pass@a/\n\n",
            "GET http://a\nhost: b\n\n",
            "GET http://a\ncontent-length: 7\n\n",
            "GET http://a\nno header\n\n",
        ] {
            assert!(HttpRequest::parse(text.as_bytes()).is_err(), "{text:?}");
        }
    }
}
