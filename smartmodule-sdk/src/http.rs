//! Requests by HTTP, which a transform may allow its modules.
//!
//! ```
//! use thalweg_smartmodule::{Record, Result, http, smartmodule};
//!
//! #[smartmodule(map)]
//! pub fn scored(record: &Record) -> Result<String> {
//!     let answer = http::post("https://scores.example.com/v1/score")
//!         .header("authorization", format!("Bearer {}", http::secret("score-token")))
//!         .body(record.value.as_bytes())
//!         .send()?
//!         .error_for_status()?;
//!     Ok(answer.text()?.to_owned())
//! }
//! # use thalweg_smartmodule::testing;
//! testing::set_http(|request| http::Response::new(200, request.body_bytes().len().to_string()));
//! assert_eq!(scored(&Record::new("four")).unwrap(), "4");
//! ```
//!
//! The transform says which hosts may be reached (`--allow-http https://scores.example.com`), how long an answer may take, how
//! many requests are on their way at a time and how often one is tried (`docs/guide/transforms.md`, Requests by HTTP). An answer is
//! written down before anything comes of it: a record that goes through again after a failure gets the one that
//! it got before. The request itself may then have been made twice, with the same `Idempotency-Key`.
//!
//! A function is called again from its beginning once an answer is there, so what it does before [`Request::send`]
//! it does several times: let it be without effects, and return the error of `send` as it is.

use std::fmt;

use crate::{Error, Result, bail};

/// A request on its way to be made.
#[derive(Debug, Clone)]
#[must_use = "a request is made by `send`"]
pub struct Request {
    method: String,
    url: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// A `GET` of this address.
pub fn get(url: impl Into<String>) -> Request {
    request("GET", url)
}

/// A `POST` to this address.
pub fn post(url: impl Into<String>) -> Request {
    request("POST", url)
}

/// A `PUT` to this address.
pub fn put(url: impl Into<String>) -> Request {
    request("PUT", url)
}

/// A `DELETE` of this address.
pub fn delete(url: impl Into<String>) -> Request {
    request("DELETE", url)
}

/// A request with this method.
pub fn request(method: impl Into<String>, url: impl Into<String>) -> Request {
    Request {
        method: method.into(),
        url: url.into(),
        headers: Vec::new(),
        body: Vec::new(),
    }
}

/// What stands for a secret in the value of a header: the host puts the secret in its place, and the module never
/// sees it. The transform says which secrets may be used (`--secret NAME`).
#[must_use]
pub fn secret(name: &str) -> String {
    format!("{{{{secret:{name}}}}}")
}

impl Request {
    /// The same request with a header.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The same request with this body.
    pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        self
    }

    /// The same request with a value as JSON for its body.
    ///
    /// # Errors
    /// When the value has no form in JSON.
    #[cfg(feature = "json")]
    pub fn json(mut self, value: &impl serde::Serialize) -> Result<Self> {
        self.body = serde_json::to_vec(value)?;
        Ok(self.header("content-type", "application/json"))
    }

    /// The method, `GET` say.
    #[must_use]
    pub fn method(&self) -> &str {
        &self.method
    }

    /// The address.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The value of the first header of this name, in whichever case.
    #[must_use]
    pub fn header_value(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// The body.
    #[must_use]
    pub fn body_bytes(&self) -> &[u8] {
        &self.body
    }

    /// Makes the request.
    ///
    /// # Errors
    /// When there is no answer yet: the record comes again once it is there. When nobody answers, or the transform does not
    /// allow the request. An answer of any status is no error: see [`Response::error_for_status`].
    pub fn send(self) -> Result<Response> {
        let is_one_line = |text: &str| !text.contains(['\r', '\n']);
        let mut names = self.headers.iter();
        let headers = names.all(|(name, value)| is_one_line(value) && is_name(name));
        if !headers || !is_one_line(&self.url) || !is_name(&self.method) {
            bail!(
                "the request to `{}` has a method, an address or a header that is none",
                self.url
            );
        }
        answer(self)
    }

    /// As the host is given it.
    #[cfg(target_family = "wasm")]
    fn encode(&self) -> Vec<u8> {
        let mut text = format!("{} {}\n", self.method, self.url);
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\n"));
        }
        text.push('\n');
        let mut text = text.into_bytes();
        text.extend_from_slice(&self.body);
        text
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b':')
}

fn find<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let mut found = headers.iter();
    let found = found.find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.as_str())
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Response {
    /// An answer, for tests.
    #[must_use]
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
        }
    }

    /// The same answer with a header, for tests.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The status code, 200 where all went well.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Whether the status is one of 200 to 299.
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// This answer, where it is a success.
    ///
    /// # Errors
    /// When it is none, with the status and the beginning of the body.
    pub fn error_for_status(self) -> Result<Self> {
        if self.is_success() {
            return Ok(self);
        }
        let said = String::from_utf8_lossy(&self.body);
        let said: String = said.chars().take(200).collect();
        Err(Error::msg(format_args!(
            "the answer has status {}: {said}",
            self.status
        )))
    }

    /// The value of the first header of this name, in whichever case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The body as text.
    ///
    /// # Errors
    /// When it is not UTF-8.
    pub fn text(&self) -> Result<&str> {
        Ok(std::str::from_utf8(&self.body)?)
    }

    /// The body read as JSON.
    ///
    /// # Errors
    /// When it is not that.
    #[cfg(feature = "json")]
    pub fn json<'a, T: serde::Deserialize<'a>>(&'a self) -> Result<T> {
        Ok(serde_json::from_slice(&self.body)?)
    }

    /// What the host answered: the status, the headers and the body, or why there is none.
    #[cfg(any(target_family = "wasm", test))]
    fn decode(text: &[u8]) -> Result<Self> {
        let malformed = || Error::msg("the host's answer to a request is malformed");
        let end = text.windows(2).position(|pair| pair == b"\n\n");
        let (head, body) = text.split_at(end.ok_or_else(malformed)?);
        let (head, body) = (std::str::from_utf8(head)?, body[2..].to_vec());
        let mut lines = head.split('\n');
        let status = lines.next().and_then(|line| line.parse().ok());
        let status: u16 = status.ok_or_else(malformed)?;
        if status == 0 {
            bail!("{}", String::from_utf8_lossy(&body));
        }
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Ok(Self {
            status,
            headers: headers.collect(),
            body,
        })
    }
}

impl fmt::Display for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with {} bytes", self.status, self.body.len())
    }
}

#[cfg(target_family = "wasm")]
fn answer(request: Request) -> Result<Response> {
    use thalweg_smartmodule_abi as abi;

    let (offset, number) = crate::current::next_call();
    let request = request.encode();
    let mut text = Vec::new();
    let found = crate::host::in_room(&mut text, |place| {
        crate::host::http_call(offset, number, &request, place)
    });
    if found == abi::HTTP_WAITS {
        crate::current::wait();
        bail!("the request is not answered yet");
    }
    Response::decode(&text)
}

#[cfg(not(target_family = "wasm"))]
fn answer(request: Request) -> Result<Response> {
    crate::testing::answer_http(&request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_and_a_failure_is_an_error() {
        let answer =
            Response::decode(b"201\nContent-Type: text/plain\nx: a: b\n\nline\n\nline").unwrap();
        assert_eq!(answer.status(), 201);
        assert_eq!(answer.header("content-type"), Some("text/plain"));
        assert_eq!(answer.header("X"), Some("a: b"));
        assert_eq!(answer.text().unwrap(), "line\n\nline");

        let failed = Response::decode(b"0\n\nnobody answers").unwrap_err();
        assert_eq!(failed.to_string(), "nobody answers");
        for garbage in [&b""[..], b"200", b"x\n\n", b"70000\n\n"] {
            assert!(Response::decode(garbage).is_err());
        }
    }

    #[test]
    fn what_is_no_request_is_not_sent() {
        crate::testing::set_http(|_| Response::new(204, ""));
        assert_eq!(get("http://a").send().unwrap().status(), 204);
        for request in [
            get("http://a\nb: c"),
            get("http://a").header("a b", "c"),
            get("http://a").header("a", "b\r\nc: d"),
            request("GET http", "http://a"),
        ] {
            assert!(request.send().is_err());
        }
    }
}
