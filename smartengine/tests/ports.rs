//! The modules of `examples/ports` give the known answers when the engine runs them.
#![allow(clippy::unwrap_used, reason = "a test that can't set itself up fails")]

mod support;

use std::path::PathBuf;
use std::sync::OnceLock;

use thalweg_record::{Batch, BatchBuilder, BatchOptions, Header};
use thalweg_smartengine::{Chain, ChainError, LookBackWindow, SmartModuleKind, Step};
use thalweg_types::{LookBack, Offset};

use support::{build_examples, engine, open, process, records, step_with};

const BASE_OFFSET: i64 = 100;
const BASE_TIME_MS: i64 = 1_357_034_400_000;

fn wasm(name: &str) -> Vec<u8> {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let directory =
        BUILT.get_or_init(|| build_examples("thalweg-example-ports", "wasm32-unknown-unknown"));
    std::fs::read(directory.join(name).with_extension("wasm")).unwrap()
}

fn chain(name: &str, kind: SmartModuleKind, params: &[(&str, &str)]) -> Result<Chain, ChainError> {
    let module = engine().load(&wasm(name)).unwrap();
    assert_eq!(module.kind(), kind, "{name}");
    open(vec![step_with(&module, params)])
}

/// A batch of values, one a second, each with the key `k` and its number.
fn batch(values: &[&str]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions {
        base_offset: Offset(BASE_OFFSET),
        ..BatchOptions::default()
    });
    for (index, value) in values.iter().enumerate() {
        let key = format!("k{index}");
        builder
            .push(
                BASE_TIME_MS + index as i64 * 1000,
                Some(key.as_bytes()),
                Some(value.as_bytes()),
                &[],
            )
            .unwrap();
    }
    builder.build().unwrap()
}

/// What comes out, with offsets counted from the batch's.
fn run(
    name: &str,
    kind: SmartModuleKind,
    params: &[(&str, &str)],
    values: &[&str],
) -> Vec<(i64, String)> {
    let mut chain = chain(name, kind, params).unwrap();
    let output = process(&mut chain, &batch(values)).unwrap();
    assert_eq!(
        output.next_offset,
        Offset(BASE_OFFSET + values.len() as i64)
    );
    records(&output)
        .into_iter()
        .map(|(offset, value)| (offset - BASE_OFFSET, value))
        .collect()
}

fn failure(name: &str, kind: SmartModuleKind, params: &[(&str, &str)], value: &str) -> String {
    let failed =
        chain(name, kind, params).and_then(|mut chain| process(&mut chain, &batch(&[value])));
    failed.unwrap_err().to_string()
}

fn numbered(values: &[&str]) -> Vec<(i64, String)> {
    (0..)
        .zip(values.iter().map(|value| (*value).to_owned()))
        .collect()
}

fn some(values: &[(i64, &str)]) -> Vec<(i64, String)> {
    values
        .iter()
        .map(|&(offset, value)| (offset, value.to_owned()))
        .collect()
}

#[test]
fn a_regular_expression_from_a_parameter_filters() {
    let pattern = [("regex", r"\b\d{3}-\d{2}-\d{4}\b")];
    let lines = ["is 123-45-6789", "is 12-3456789", "\u{e9}: 000-00-0000"];

    let kept = run("regex_filter", SmartModuleKind::Filter, &pattern, &lines);

    assert_eq!(kept, some(&[(0, lines[0]), (2, lines[2])]));
    let missing = failure("regex_filter", SmartModuleKind::Filter, &[], "x");
    assert!(
        missing.contains("parameter `regex` is missing"),
        "{missing}"
    );
}

#[test]
fn text_is_mapped_to_capitals_and_what_is_no_text_fails() {
    let out = run(
        "uppercase",
        SmartModuleKind::Map,
        &[],
        &["a", "stra\u{df}e"],
    );

    assert_eq!(out, numbered(&["A", "STRASSE"]));
}

#[test]
fn fields_of_json_are_projected_filtered_and_split() {
    let customer = r#"{"id":7,"name":"Ada","iban":"DE02","address":{"street":"A 1","city":"Ulm"}}"#;
    assert_eq!(
        run("json_project", SmartModuleKind::Map, &[], &[customer]),
        numbered(&[r#"{"id":7,"name":"Ada","city":"Ulm"}"#])
    );

    let logs = ["debug", "warn", "error"].map(|level| format!(r#"{{"level":"{level}"}}"#));
    let logs: Vec<_> = logs.iter().map(String::as_str).collect();
    let kept = run("json_filter", SmartModuleKind::Filter, &[], &logs);
    assert_eq!(kept, some(&[(1, logs[1]), (2, logs[2])]));
    let errors = [("min_level", "error")];
    let kept = run("json_filter", SmartModuleKind::Filter, &errors, &logs);
    assert_eq!(kept, some(&[(2, logs[2])]));

    let arrays = [r#"["a",{"b":1}]"#, "[]", "[null]"];
    assert_eq!(
        run("json_split", SmartModuleKind::ArrayMap, &[], &arrays),
        some(&[(0, r#""a""#), (0, r#"{"b":1}"#), (2, "null")])
    );
    let failed = failure("json_split", SmartModuleKind::ArrayMap, &[], "{}");
    assert!(failed.contains("the value is no JSON array"), "{failed}");
}

#[test]
fn what_is_not_valid_is_left_out() {
    let lines = ["Ada, 12.5", "Ada", "7,7", "Bob,NaN", "Cleo,3"];

    let out = run("validate", SmartModuleKind::FilterMap, &[], &lines);

    assert_eq!(out, some(&[(0, "ada,12.50"), (4, "cleo,3.00")]));
}

#[test]
fn aggregates_give_what_has_accumulated_so_far() {
    assert_eq!(
        run(
            "running_sum",
            SmartModuleKind::Aggregate,
            &[],
            &["1", " -5", "40"]
        ),
        numbered(&["1", "-4", "36"])
    );
    assert_eq!(
        run("average", SmartModuleKind::Aggregate, &[], &["10", "20"]),
        numbered(&[
            r#"{"average":10.0,"count":1}"#,
            r#"{"average":15.0,"count":2}"#
        ])
    );
    let fields = [r#"{"a":5,"b":-1}"#, r#"{"a":2}"#, r#"{"a":9}"#];
    let out = run("field_counts", SmartModuleKind::Aggregate, &[], &fields);
    assert_eq!(
        out[2].1,
        r#"{"a":{"count":3,"min":2,"max":9},"b":{"count":1,"min":-1,"max":-1}}"#
    );
}

#[test]
fn a_key_passes_once_until_it_is_forgotten() {
    let mut chain = chain("keys_once", SmartModuleKind::Filter, &[("count", "2")]).unwrap();

    let first = process(&mut chain, &batch(&["v", "v"])).unwrap();
    let again = process(&mut chain, &batch(&["v", "v", "v"])).unwrap();
    let forgotten = process(&mut chain, &batch(&["v"])).unwrap();

    assert_eq!((first.record_count, again.record_count), (2, 1));
    assert_eq!(forgotten.record_count, 1);
}

#[test]
fn what_passed_before_the_stream_began_does_not_pass_again() {
    let module = engine().load(&wasm("keys_once")).unwrap();
    let mut chain = open(vec![Step {
        look_back: Some(LookBack {
            last: Some(2),
            age_ms: None,
        }),
        ..step_with(&module, &[("count", "10")])
    }])
    .unwrap();
    let log = batch(&["v", "v", "v", "v"]);
    let window = LookBackWindow {
        from: Offset(BASE_OFFSET),
        until: Offset(BASE_OFFSET + 2),
        not_before_ms: None,
    };

    chain
        .look_back(0, Batch::parse(&log).unwrap(), &window)
        .unwrap();
    let output = process(&mut chain, &log).unwrap();

    let offsets: Vec<_> = records(&output).iter().map(|(offset, _)| *offset).collect();
    assert_eq!(offsets, [BASE_OFFSET + 2, BASE_OFFSET + 3]);
}

#[test]
fn parameters_that_are_left_out_have_their_defaults() {
    let given = [("prefix", "- ")];
    assert_eq!(
        run("prefix", SmartModuleKind::Map, &given, &["a"]),
        numbered(&["- a>"])
    );
}

#[test]
fn timestamps_are_read() {
    assert_eq!(
        run("age", SmartModuleKind::Map, &[], &["21.5", "21.7"]),
        numbered(&["1357034400000 +0s 21.5", "1357034401000 +1s 21.7"])
    );
}

#[test]
fn addresses_are_masked() {
    let lines = ["from Ada.Lovelace@example.org to bob@x.co: hi", "no @ here"];

    assert_eq!(
        run("mask_email", SmartModuleKind::Map, &[], &lines),
        numbered(&["from A***@example.org to b***@x.co: hi", lines[1]])
    );
}

#[test]
fn headers_offset_and_time_come_in_and_go_out() {
    let mut builder = BatchBuilder::new(BatchOptions {
        base_offset: Offset(BASE_OFFSET),
        ..BatchOptions::default()
    });
    let measured = (BASE_TIME_MS - 7).to_string();
    let header = |key, value| Header {
        key,
        value: Some(value),
    };
    let headers = [
        header(b"device".as_slice(), b"d-1".as_slice()),
        header(b"measured-at", measured.as_bytes()),
    ];
    builder
        .push(BASE_TIME_MS, None, Some(b"first"), &[])
        .unwrap();
    builder
        .push(BASE_TIME_MS + 5, None, Some(b"second"), &headers)
        .unwrap();
    let mut chain = chain("enrich", SmartModuleKind::Map, &[]).unwrap();

    let output = process(&mut chain, &builder.build().unwrap()).unwrap();

    let bytes = output.records.unwrap();
    let batch = Batch::parse(&bytes).unwrap();
    let records = batch.records(usize::MAX).unwrap();
    let second = records.iter().nth(1).unwrap().unwrap();
    assert_eq!(second.offset, Offset(BASE_OFFSET + 1));
    assert_eq!(second.timestamp_ms, BASE_TIME_MS - 7);
    assert_eq!(second.key, Some(&b"d-1"[..]));
    let headers: Vec<_> = second
        .headers
        .iter()
        .map(|header| {
            let value = header.value.unwrap();
            format!(
                "{}={}",
                String::from_utf8_lossy(header.key),
                String::from_utf8_lossy(value)
            )
        })
        .collect();
    assert_eq!(
        headers,
        [
            format!("measured-at={measured}"),
            "source-offset=101".to_owned(),
            "source-time=1357034400005".to_owned()
        ]
    );
}

#[test]
fn orders_are_priced_by_a_parameter_of_json() {
    let params = [("prices", r#"{"pen":120,"ink":450}"#), ("shipping", "300")];
    let order = |line: &str| format!(r#"{{"id":7,"customer":"Ada","lines":[{line}]}}"#);
    let priced = order(r#"{"sku":"pen","count":2},{"sku":"ink","count":1}"#);
    let unknown = order(r#"{"sku":"cap","count":1}"#);

    let out = run(
        "typed",
        SmartModuleKind::FilterMap,
        &params,
        &[&unknown, &priced],
    );

    assert_eq!(out, some(&[(1, r#"{"order":7,"cents":990}"#)]));
    let wrong = order(r#"{"sku":"pen","count":"2"}"#);
    let failed = failure("typed", SmartModuleKind::FilterMap, &params, &wrong);
    assert!(failed.contains("in `lines[0].count`"), "{failed}");
    let failed = failure(
        "typed",
        SmartModuleKind::FilterMap,
        &[("prices", "[1]")],
        &priced,
    );
    assert!(
        failed.contains("`prices`") && failed.contains("expected a map"),
        "{failed}"
    );
}

#[test]
fn modules_begin_small_and_nesting_finds_its_bound() {
    let small = [
        "age",
        "running_sum",
        "typed",
        "json_split",
        "keys_once",
        "enrich",
    ];
    for name in small {
        let module = engine().load(&wasm(name)).unwrap();
        let params = match name {
            "typed" => &[("prices", "{}")][..],
            "keys_once" => &[("count", "2")],
            _ => &[],
        };
        let chain = open(vec![step_with(&module, params)]).unwrap();
        let kib = chain.memory_bytes() / 1024;
        assert!(kib <= 320, "{name} begins with {kib} KiB");
    }

    // As deep as serde_json reads, and deeper.
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let deepest = nested(127);
    let out = run("json_split", SmartModuleKind::ArrayMap, &[], &[&deepest]);
    assert_eq!(out, numbered(&[&nested(126)]));
    let failed = failure(
        "json_split",
        SmartModuleKind::ArrayMap,
        &[],
        &nested(10_000),
    );
    assert!(failed.contains("recursion limit exceeded"), "{failed}");
    // As deep as regex compiles, and deeper.
    let grouped = |depth: usize| format!("{}a{}", "(".repeat(depth), ")".repeat(depth));
    let pattern = grouped(240);
    let kept = run(
        "regex_filter",
        SmartModuleKind::Filter,
        &[("regex", &pattern)],
        &["b", "a"],
    );
    assert_eq!(kept, some(&[(1, "a")]));
    let pattern = grouped(300);
    let failed = failure(
        "regex_filter",
        SmartModuleKind::Filter,
        &[("regex", &pattern)],
        "a",
    );
    assert!(failed.contains("nest"), "{failed}");
}
