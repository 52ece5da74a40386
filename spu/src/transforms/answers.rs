//! What the modules of a runner asked by HTTP, and what was answered: see `docs/rfcs/transforms.md`, Calls. Pure.
//!
//! An answer is known by the input record, by how many calls its module made before, and by the request itself. So a
//! record that goes through again gets what it got before, in whichever batch it comes.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use thalweg_smartengine::{Call, Called, Calls};
use thalweg_types::{Capabilities, Offset, sha256};

use super::http_request::HttpRequest;

/// How many calls a record may make of each of its modules.
const CALLS_PER_RECORD: u32 = 16;
/// How many requests are noted at a time; more wait for the next time.
const ASKED_MAX: usize = 4096;
/// How large they are together, in bytes.
const ASKED_BYTES_MAX: usize = 16 << 20;
/// How large the answers are together, in bytes, before no more records are begun.
const KNOWN_BYTES_MAX: usize = 32 << 20;
/// How many records are given to the modules at a time for each request that may be on its way, so that few wait for the
/// slowest.
const RECORDS_PER_CALL_AT_A_TIME: i64 = 8;
/// And how many at least.
const RECORDS_MIN: i64 = 64;

/// Names a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CallId {
    pub(super) offset: Offset,
    number: u32,
    /// The beginning of the request's SHA-256.
    digest: [u8; 16],
}

/// A request that nobody has answered yet.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) id: CallId,
    pub(super) step: String,
    pub(super) request: HttpRequest,
}

/// What is known of calls.
#[derive(Debug)]
pub(super) struct Answers {
    capabilities: Capabilities,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// The records that go through the chain.
    records: Range<Offset>,
    known: KnownCalls,
    asked: BTreeMap<CallId, Asked>,
    asked_bytes: usize,
}

/// Answers that are in the changelog, each with the epoch of the reign that wrote it. Of several the highest counts:
/// what a reign wrote after the next had begun was nowhere used.
pub(super) type KnownCalls = BTreeMap<CallId, BTreeMap<i16, Arc<[u8]>>>;

impl Answers {
    pub(super) fn new(capabilities: Capabilities) -> Self {
        Self {
            capabilities,
            inner: Mutex::new(Inner {
                records: Offset::ZERO..Offset::ZERO,
                known: KnownCalls::new(),
                asked: BTreeMap::new(),
                asked_bytes: 0,
            }),
        }
    }

    /// Takes what the changelog has.
    pub(super) fn restore(&self, known: KnownCalls) {
        self.inner().known = known;
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records from `from` on are given to the modules, and calls come of them; up to where, so that their answers are
    /// not too many to be in memory together.
    pub(super) fn begin(&self, from: Offset) -> Offset {
        let concurrency = match &self.capabilities.http {
            Some(http) if !self.capabilities.key_value => i64::from(http.concurrency),
            // What a record asks may go by what the one before it has put.
            _ => 0,
        };
        let records_max = match concurrency {
            0 => 1,
            several => (several * RECORDS_PER_CALL_AT_A_TIME).max(RECORDS_MIN),
        };
        let mut inner = self.inner();
        let known = inner.known.values().flat_map(BTreeMap::values);
        let known_bytes: usize = known.map(|answer| answer.len()).sum();
        let mut until = from.plus(records_max);
        if known_bytes >= KNOWN_BYTES_MAX
            && let Some((last, _)) = inner.known.last_key_value()
        {
            // Those that have answers are first.
            until = last.offset.next().clamp(from.next(), until);
        }
        inner.records = from..until;
        until
    }

    /// What is to be answered, in the order of the records.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.inner().asked.values().cloned().collect()
    }

    /// Takes answers that the changelog has. What was asked besides is asked again, if it is still wanted.
    pub(super) fn answered(&self, epoch: i16, answers: Vec<(CallId, Arc<[u8]>)>) {
        let mut inner = self.inner();
        for (id, answer) in answers {
            inner.known.entry(id).or_default().insert(epoch, answer);
        }
        inner.asked.clear();
        inner.asked_bytes = 0;
    }

    /// Forgets the calls of records below `offset`, which are through; the keys of their entries in the changelog.
    pub(super) fn forget_below(&self, offset: Offset) -> Vec<Vec<u8>> {
        let mut inner = self.inner();
        let first_kept = CallId {
            offset,
            number: 0,
            digest: [0; 16],
        };
        let kept = inner.known.split_off(&first_kept);
        let forgotten = std::mem::replace(&mut inner.known, kept);
        let epochs = forgotten
            .iter()
            .flat_map(|(id, answers)| answers.keys().map(|epoch| id.entry_key(*epoch)));
        epochs.collect()
    }

    /// Why this request can't be made, whoever asks.
    fn refusal(&self, call: &Call<'_>, request: &HttpRequest) -> Option<String> {
        if call.number >= CALLS_PER_RECORD {
            return Some(format!("a record may make {CALLS_PER_RECORD} calls"));
        }
        let allowed = self.capabilities.http.as_ref();
        let origin = request.origin();
        if !allowed.is_some_and(|http| http.allow.contains(&origin)) {
            return Some(format!(
                "the transform does not allow requests to {origin}: deploy it with `--allow-http {origin}`"
            ));
        }
        let mut secrets = request.secrets();
        let unknown = secrets.find(|name| {
            !self
                .capabilities
                .secrets
                .iter()
                .any(|own| own.as_str() == *name)
        });
        unknown.map(|name| {
            format!("the transform has no secret `{name}`: deploy it with `--secret {name}`")
        })
    }
}

impl Calls for Answers {
    fn call(&self, call: Call<'_>, take: &mut dyn FnMut(&[u8])) -> Called {
        let digest = sha256(call.request);
        let id = CallId {
            offset: call.offset,
            number: call.number,
            digest: *digest.first_chunk().expect("a digest has 32 bytes"),
        };
        let mut inner = self.inner();
        if let Some(answer) = inner.known.get(&id).and_then(|known| known.values().last()) {
            take(answer);
            return Called::Answered;
        }
        let refuse = |reason: String, take: &mut dyn FnMut(&[u8])| {
            take(&failure(&reason));
            Called::Answered
        };
        if !inner.records.contains(&call.offset) {
            let reason = "a request is made for a record, and this one is none of those that the module was given";
            return refuse(reason.to_owned(), take);
        }
        let request = match HttpRequest::parse(call.request) {
            Ok(request) => request,
            Err(error) => return refuse(error.to_string(), take),
        };
        if let Some(reason) = self.refusal(&call, &request) {
            return refuse(reason, take);
        }
        let has_room = inner.asked.len() < ASKED_MAX && inner.asked_bytes < ASKED_BYTES_MAX;
        if has_room && !inner.asked.contains_key(&id) {
            inner.asked_bytes += call.request.len();
            let step = call.step.to_owned();
            inner.asked.insert(id, Asked { id, step, request });
        }
        Called::Waits
    }
}

impl CallId {
    /// What the changelog calls an answer that a reign got.
    pub(super) fn entry_key(&self, epoch: i16) -> Vec<u8> {
        let mut key = vec![super::state::CALL_TAG];
        key.extend_from_slice(&self.offset.0.to_be_bytes());
        key.extend_from_slice(&self.number.to_be_bytes());
        key.extend_from_slice(&self.digest);
        key.extend_from_slice(&epoch.to_be_bytes());
        key
    }

    /// What an entry's key says behind its tag.
    pub(super) fn of_entry_key(rest: &[u8]) -> Option<(Self, i16)> {
        let (offset, rest) = rest.split_first_chunk()?;
        let (number, rest) = rest.split_first_chunk()?;
        let (digest, rest) = rest.split_first_chunk()?;
        let id = Self {
            offset: Offset(i64::from_be_bytes(*offset)),
            number: u32::from_be_bytes(*number),
            digest: *digest,
        };
        Some((id, i16::from_be_bytes(rest.try_into().ok()?)))
    }

    /// Says the same whenever the call is made again.
    pub(super) fn idempotency_suffix(&self) -> String {
        let digest = u32::from_be_bytes(*self.digest.first_chunk().expect("it has 16 bytes"));
        format!("{}-{}-{digest:08x}", self.offset, self.number)
    }
}

/// An answer that says why there is none.
pub(super) fn failure(reason: &str) -> Vec<u8> {
    format!("0\n\n{reason}").into_bytes()
}

#[cfg(test)]
mod tests {
    use thalweg_types::HttpCapability;

    use super::*;

    fn answers() -> Answers {
        let allow = vec!["http://a:1".parse().unwrap()];
        let capabilities = Capabilities {
            http: Some(HttpCapability::to(allow)),
            ..Capabilities::default()
        };
        let answers = Answers::new(capabilities);
        assert_eq!(answers.begin(Offset(10)), Offset(10 + 16 * 8));
        answers
    }

    fn call(answers: &Answers, offset: i64, number: u32, request: &str) -> Option<String> {
        let mut text = String::new();
        let call = Call {
            step: "m@1.0.0",
            offset: Offset(offset),
            number,
            request: request.as_bytes(),
        };
        let called = answers.call(call, &mut |answer| {
            text = String::from_utf8(answer.to_vec()).unwrap();
        });
        (called == Called::Answered).then_some(text)
    }

    const GET: &str = "GET http://a:1/x\n\n";

    #[test]
    fn a_record_gets_the_answer_that_it_got_before_until_it_is_through() {
        let answers = answers();
        assert_eq!(call(&answers, 10, 0, GET), None);
        assert_eq!(call(&answers, 11, 0, GET), None);
        assert_eq!(call(&answers, 11, 0, GET), None);
        let asked = answers.asked();
        assert_eq!(asked.len(), 2);

        let answer: Arc<[u8]> = b"200\n\nyes"[..].into();
        answers.answered(3, vec![(asked[0].id, answer)]);

        assert_eq!(call(&answers, 10, 0, GET).as_deref(), Some("200\n\nyes"));
        assert!(answers.asked().is_empty());
        assert_eq!(call(&answers, 10, 1, GET), None, "another call");
        assert_eq!(
            call(&answers, 10, 0, "GET http://a:1/y\n\n"),
            None,
            "another request"
        );
        let keys = answers.forget_below(Offset(11));
        let (id, epoch) = CallId::of_entry_key(&keys[0][1..]).unwrap();
        assert_eq!((id, epoch, keys.len()), (asked[0].id, 3, 1));
        assert_eq!(call(&answers, 10, 0, GET), None);
    }

    #[test]
    fn of_two_reigns_answers_the_later_ones_counts() {
        let mut known = KnownCalls::new();
        let first = answers();
        call(&first, 10, 0, GET);
        let id = first.asked()[0].id;
        for (epoch, answer) in [(7, "seven"), (2, "two")] {
            let answer: Arc<[u8]> = answer.as_bytes().into();
            known.entry(id).or_default().insert(epoch, answer);
        }
        let answers = Answers::new(Capabilities::default());
        answers.restore(known);
        assert_eq!(call(&answers, 10, 0, GET).as_deref(), Some("seven"));
        assert_eq!(answers.forget_below(Offset(100)).len(), 2);
    }

    #[test]
    fn what_is_not_allowed_is_answered_with_how_to_allow_it() {
        let answers = answers();
        for (offset, number, request, reason) in [
            (9, 0, GET, "none of those"),
            (10, 16, GET, "16 calls"),
            (10, 0, "GET http://b/x\n\n", "--allow-http http://b"),
            (10, 0, "GET http://a:1/x\nk: {{secret:s}}\n\n", "--secret s"),
            (10, 0, "GET\n\n", "method"),
        ] {
            let answer = call(&answers, offset, number, request).unwrap();
            assert!(
                answer.starts_with("0\n\n") && answer.contains(reason),
                "{answer}"
            );
        }
        assert!(answers.asked().is_empty());
    }
}
