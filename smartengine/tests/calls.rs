//! Modules ask whoever opens their chain by HTTP, and never wait for an answer.
#![allow(clippy::unwrap_used, reason = "a test that can't set itself up fails")]

mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use thalweg_record::{Batch, Codec};
use thalweg_smartengine::{
    Call, Called, Calls, Chain, ChainError, ChainOptions, ChainOutput, HostServices, OnFailure,
    Step,
};
use thalweg_types::Offset;

use support::{batch, engine, records, sdk_module, step, step_with};

/// A record, the number of its call, and the request.
type CallId = (Offset, u32, Vec<u8>);

/// Answers what was asked when it is told to.
#[derive(Debug, Default)]
struct Answerer {
    answers: Mutex<BTreeMap<CallId, Vec<u8>>>,
    asked: Mutex<Vec<CallId>>,
}

impl Calls for Answerer {
    fn call(&self, call: Call<'_>, take: &mut dyn FnMut(&[u8])) -> Called {
        let id = (call.offset, call.number, call.request.to_vec());
        if let Some(answer) = self.answers.lock().unwrap().get(&id) {
            take(answer);
            return Called::Answered;
        }
        self.asked.lock().unwrap().push(id);
        Called::Waits
    }
}

impl Answerer {
    /// Answers all that was asked; how much that is.
    fn answer(&self, answer: impl Fn(&str) -> String) -> usize {
        let asked = std::mem::take(&mut *self.asked.lock().unwrap());
        let count = asked.len();
        for id in asked {
            let text = answer(std::str::from_utf8(&id.2).unwrap());
            self.answers.lock().unwrap().insert(id, text.into_bytes());
        }
        count
    }
}

fn scored(on_failure: OnFailure) -> Step {
    let module = engine().load(&sdk_module("scored")).unwrap();
    Step {
        on_failure,
        ..step_with(&module, &[("url", "http://scores")])
    }
}

fn open(calls: &Arc<Answerer>, steps: Vec<Step>) -> Chain {
    engine()
        .open_chain(ChainOptions {
            services: HostServices {
                calls: Some(Arc::clone(calls) as Arc<dyn Calls>),
                ..HostServices::default()
            },
            ..ChainOptions::new(steps)
        })
        .unwrap()
}

fn process(
    chain: &mut Chain,
    batch: &[u8],
    range: std::ops::Range<i64>,
) -> Result<ChainOutput, ChainError> {
    let range = Offset(range.start)..Offset(range.end);
    chain.process_range(Batch::parse(batch).unwrap(), range)
}

/// The answer to a request of `scored`: how long the body is.
fn length(request: &str) -> String {
    let body = request.split_once("\n\n").unwrap().1;
    format!("200\ncontent-type: text/plain\n\n{}", body.len())
}

#[test]
fn all_records_ask_before_any_counts_and_each_gets_its_answer() {
    let calls = Arc::new(Answerer::default());
    let mut chain = open(&calls, vec![scored(OnFailure::Stop)]);
    let batch = batch(10, Codec::None, &["a", "bb", "ccc"]);

    let waits = process(&mut chain, &batch, 10..12).unwrap_err();
    assert_eq!(waits, ChainError::AwaitsCalls);
    assert_eq!(calls.answer(length), 2);
    let output = process(&mut chain, &batch, 10..12).unwrap();

    assert_eq!(output.next_offset, Offset(12));
    let first = [
        (10, "a scores 1".to_owned()),
        (11, "bb scores 2".to_owned()),
    ];
    assert_eq!(records(&output), first);
    assert_eq!(
        process(&mut chain, &batch, 12..20),
        Err(ChainError::AwaitsCalls)
    );
    assert_eq!(calls.answer(length), 1);
    let output = process(&mut chain, &batch, 12..20).unwrap();
    assert_eq!(records(&output), [(12, "ccc scores 3".to_owned())]);
    assert_eq!(output.next_offset, Offset(13));
}

#[test]
fn a_later_step_asks_about_what_the_first_one_answered() {
    let calls = Arc::new(Answerer::default());
    let steps = vec![scored(OnFailure::Stop), scored(OnFailure::Stop)];
    let mut chain = open(&calls, steps);
    let batch = batch(0, Codec::None, &["a", "bb"]);

    for _ in 0..2 {
        assert_eq!(
            process(&mut chain, &batch, 0..2),
            Err(ChainError::AwaitsCalls)
        );
        assert_eq!(calls.answer(length), 2);
    }

    let output = process(&mut chain, &batch, 0..2).unwrap();
    let values: Vec<_> = records(&output)
        .into_iter()
        .map(|(_, value)| value)
        .collect();
    assert_eq!(values, ["a scores 1 scores 10", "bb scores 2 scores 11"]);
}

#[test]
fn a_record_that_fails_is_dealt_with_once_those_beside_it_are_answered() {
    for on_failure in [OnFailure::Skip, OnFailure::Stop] {
        let calls = Arc::new(Answerer::default());
        let mut chain = open(&calls, vec![scored(on_failure)]);
        let batch = batch(0, Codec::None, &["a", "bad", "c"]);
        let answer = |request: &str| match request.ends_with("bad") {
            true => "422\n\nno such thing".to_owned(),
            false => length(request),
        };

        assert_eq!(
            process(&mut chain, &batch, 0..3),
            Err(ChainError::AwaitsCalls)
        );
        calls.answer(answer);
        let output = process(&mut chain, &batch, 0..3).unwrap();

        match on_failure {
            OnFailure::Skip => {
                assert_eq!(output.record_count, 2);
                assert_eq!(output.failed[0].offset, Offset(1));
                let said = &output.failed[0].message;
                assert_eq!(said, "the answer has status 422: no such thing");
            }
            _ => {
                assert_eq!(output.next_offset, Offset(1));
                let error = process(&mut chain, &batch, 1..3).unwrap_err();
                assert!(matches!(error, ChainError::Guest { .. }), "{error}");
            }
        }
    }
}

#[test]
fn where_no_calls_are_allowed_the_module_says_how_to_allow_them() {
    let mut chain = support::open(vec![scored(OnFailure::Stop)]).unwrap();

    let error = process(&mut chain, &batch(0, Codec::None, &["a"]), 0..1).unwrap_err();

    assert!(error.to_string().contains("--allow-http"), "{error}");
}

#[test]
fn a_range_cuts_a_batch_for_modules_that_ask_nothing_too() {
    let shout = engine().load(&sdk_module("shout")).unwrap();
    let mut chain = support::open(vec![step(&shout)]).unwrap();
    let batch = batch(5, Codec::None, &["a", "b", "c"]);

    let output = process(&mut chain, &batch, 6..7).unwrap();

    assert_eq!(records(&output), [(6, "B".to_owned())]);
    assert_eq!(output.next_offset, Offset(7));
}
