//! Asks a service for each record's score: `--with url=http://scores.example.com/v1/score`.

use thalweg_smartmodule::{Record, Result, SmartOpt, State, http, smartmodule};

#[derive(SmartOpt)]
pub struct Options {
    /// Where records are scored.
    url: String,
    /// The secret that the service wants to see; none where it is empty.
    #[opt(default = "")]
    secret: String,
}

static OPTIONS: State<Options> = State::new();

#[smartmodule(init)]
pub fn init(options: Options) -> Result<()> {
    OPTIONS.set(options)
}

#[smartmodule(map)]
pub fn scored(record: &Record) -> Result<String> {
    let Options { url, secret } = OPTIONS.get()?;
    let mut request = http::post(url.as_str()).body(record.value.as_bytes());
    if !secret.is_empty() {
        let bearer = format!("Bearer {}", http::secret(secret));
        request = request.header("authorization", bearer);
    }
    let answer = request.send()?.error_for_status()?;
    Ok(format!("{} scores {}", record.value, answer.text()?))
}

#[cfg(test)]
mod tests {
    use thalweg_smartmodule::testing;

    use super::*;

    #[test]
    fn a_record_has_its_score() {
        testing::set_http(|request| match request.body_bytes() {
            b"bad" => http::Response::new(422, "no such thing"),
            body => http::Response::new(200, body.len().to_string()),
        });
        let mut stream = testing::harness!(init, scored).param("url", "http://scores");

        let scored = stream.run(["four"]).unwrap();
        assert_eq!(scored[0].value.as_str(), Ok("four scores 4"));

        let failed = stream.run(["bad"]).unwrap_err();
        assert_eq!(failed.message, "the answer has status 422: no such thing");
    }

    #[test]
    fn the_secret_is_named_and_not_known() {
        testing::set_http(|request| {
            let sent = request.header_value("Authorization").unwrap_or_default();
            http::Response::new(200, sent)
        });
        let stream = testing::harness!(init, scored).param("url", "http://scores");

        let scored = stream.param("secret", "token").run(["x"]).unwrap();

        assert_eq!(
            scored[0].value.as_str(),
            Ok("x scores Bearer {{secret:token}}")
        );
    }
}
