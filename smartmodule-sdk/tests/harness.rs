//! Whole modules of every kind, run natively over encoded batches.
#![cfg(all(feature = "json", not(target_family = "wasm")))]
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::cell::RefCell;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use thalweg_smartmodule::testing::harness;
use thalweg_smartmodule::{
    Headers, Json, Output, Record, RecordData, Result, SmartOpt, State, bail, smartmodule,
};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Flight {
    carrier: String,
    delay: i64,
}

fn text(record: &Record) -> (i64, Option<&str>, &str) {
    let key = record.key.as_ref().map(|key| key.as_str().unwrap());
    (record.offset(), key, record.value.as_str().unwrap())
}

fn texts(records: &[Record]) -> Vec<(i64, Option<&str>, &str)> {
    records.iter().map(text).collect()
}

mod filters {
    use super::*;

    #[derive(SmartOpt)]
    struct Options {
        #[opt(default = 60)]
        minutes: i64,
    }

    static OPTIONS: State<Options> = State::new();

    #[smartmodule(init)]
    fn init(options: Options) -> Result<()> {
        OPTIONS.set(options)
    }

    #[smartmodule(filter)]
    fn late(Json(flight): Json<Flight>, headers: Headers<'_>, record: &Record) -> Result<bool> {
        if record.key.is_some() {
            bail!("{} has a key", flight.carrier);
        }
        Ok(flight.delay > OPTIONS.get()?.minutes && headers.get("test").is_none())
    }

    fn flight(delay: i64) -> Record {
        Record::new(format!(r#"{{"carrier":"AA","delay":{delay}}}"#))
    }

    #[test]
    fn a_filter_keeps_records_whole() {
        let kept = harness!(late, init)
            .param("minutes", "30")
            .run([
                flight(31).with_timestamp(5).with_header("h", "1"),
                flight(30),
                flight(40).with_header("test", ""),
                flight(99).with_offset(70),
            ])
            .unwrap();

        assert_eq!(kept.len(), 2);
        assert_eq!((kept[0].offset(), kept[0].timestamp()), (0, 5));
        assert_eq!(kept[0].headers().get("h"), Some(&b"1"[..]));
        assert_eq!(kept[1].offset(), 70);
    }

    #[test]
    fn a_default_holds_when_no_parameter_is_given() {
        assert_eq!(harness!(init, late).run([flight(31)]).unwrap().len(), 0);
    }

    #[test]
    fn what_came_before_a_failure_is_given_out() {
        let mut keyed = flight(99);
        keyed.key = Some("k".into());

        let failed = harness!(init, late)
            .run([flight(99), keyed, flight(99)])
            .unwrap_err();

        assert_eq!(
            failed.to_string(),
            "the record at offset 1 failed: AA has a key"
        );
        assert_eq!(failed.passed.len(), 1);
    }

    #[test]
    fn a_parameter_that_is_wrong_or_not_taken_is_refused() {
        let wrong = harness!(init, late)
            .param("minutes", "x")
            .run([flight(1)])
            .unwrap_err();
        assert!(wrong.to_string().contains("`minutes`"), "{wrong}");
        assert_eq!(wrong.offset, None);

        let unknown = harness!(init, late)
            .param("hours", "1")
            .run([flight(1)])
            .unwrap_err();
        assert!(
            unknown.to_string().contains("is not one of minutes"),
            "{unknown}"
        );

        let untaken = harness!(late)
            .param("minutes", "1")
            .run([flight(1)])
            .unwrap_err();
        assert!(untaken.to_string().contains("has no `init`"), "{untaken}");
    }
}

mod maps {
    use super::*;

    #[smartmodule(map)]
    fn doubled(Json(mut flight): Json<Flight>) -> Result<(String, Json<Flight>)> {
        flight.delay *= 2;
        Ok((flight.carrier.clone(), Json(flight)))
    }

    #[test]
    fn json_comes_out_with_a_key_and_the_headers_stay() {
        let record = Record::new(r#"{"carrier":"AA","delay":4}"#).with_header("h", "1");

        let out = harness!(doubled).run([record]).unwrap();

        assert_eq!(
            text(&out[0]),
            (0, Some("AA"), r#"{"carrier":"AA","delay":8}"#)
        );
        assert_eq!(out[0].headers().get("h"), Some(&b"1"[..]));
    }

    #[smartmodule(map)]
    fn shout(line: Option<&str>) -> Result<Option<String>> {
        Ok(line.map(str::to_uppercase))
    }

    #[test]
    fn a_value_alone_keeps_the_key_and_a_null_stays_one() {
        let null = Record::with_key("b", RecordData::null());

        let out = harness!(shout)
            .run([Record::with_key("a", "x"), null])
            .unwrap();

        assert_eq!(text(&out[0]), (0, Some("a"), "X"));
        assert!(out[1].value.is_null());
    }

    #[smartmodule(map)]
    fn halves<'a>(line: &'a str, _: &Record) -> Result<(&'a str, Option<&'a [u8]>)> {
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        Ok((key, (!value.is_empty()).then_some(value.as_bytes())))
    }

    #[test]
    fn an_output_may_borrow_from_the_record() {
        let out = harness!(halves).run(["a=b", "a"]).unwrap();

        assert_eq!(text(&out[0]), (0, Some("a"), "b"));
        assert!(out[1].value.is_null());
    }

    #[smartmodule(map)]
    fn stamped(record: &Record) -> Result<Output> {
        let seconds = record
            .headers()
            .get("seconds")
            .map_or(0, |text| i64::from(text[0] - b'0'));
        Output::of(record)
            .without_header("seconds")
            .header("offset", record.offset().to_string())
            .timestamp(seconds * 1000)
            .without_key()
            .json(&[1, 2])
    }

    #[test]
    fn an_output_sets_value_key_headers_and_time() {
        let record = Record::with_key("k", "v")
            .with_offset(9)
            .with_timestamp(77)
            .with_header("seconds", "3")
            .with_header("kept", "yes");

        let out = harness!(stamped).run([record]).unwrap();

        assert_eq!(text(&out[0]), (9, None, "[1,2]"));
        assert_eq!(out[0].timestamp(), 3000);
        let headers = out[0].headers();
        assert_eq!(headers.get("seconds"), None);
        assert_eq!(headers.get("kept"), Some(&b"yes"[..]));
        assert_eq!(headers.get("offset"), Some(&b"9"[..]));
    }
}

mod array_maps {
    use super::*;
    use std::collections::BTreeMap;

    type Counts = BTreeMap<(u8, u8), u8>;

    #[smartmodule(array_map)]
    fn both(line: &str) -> Result<Vec<(String, Json<Counts>)>> {
        let unsaid = if line == "bad" {
            Counts::from([((1, 2), 3)])
        } else {
            Counts::new()
        };
        Ok(vec![
            ("first".to_owned(), Json(Counts::new())),
            ("second".to_owned(), Json(unsaid)),
        ])
    }

    #[test]
    fn a_record_that_fails_half_way_leaves_nothing_of_itself() {
        let failed = harness!(both).run(["good", "bad", "good"]).unwrap_err();

        assert_eq!(failed.offset, Some(1));
        assert!(failed.message.contains("key must be a string"), "{failed}");
        assert_eq!(
            texts(&failed.passed),
            [(0, Some("first"), "{}"), (0, Some("second"), "{}")]
        );
    }
}

mod aggregates {
    use super::*;

    #[derive(Default, Serialize, Deserialize)]
    struct Longest {
        lines: u64,
        bytes: usize,
    }

    #[smartmodule(aggregate)]
    fn longest(Json(longest): Json<Longest>, line: &str) -> Result<Json<Longest>> {
        Ok(Json(Longest {
            lines: longest.lines + 1,
            bytes: longest.bytes.max(line.len()),
        }))
    }

    #[test]
    fn a_typed_accumulator_goes_on_from_batch_to_batch() {
        let mut stream = harness!(longest);

        let first = stream.run(["abc", "a"]).unwrap();
        assert_eq!(
            texts(&first),
            [
                (0, None, r#"{"lines":1,"bytes":3}"#),
                (1, None, r#"{"lines":2,"bytes":3}"#)
            ]
        );
        let second = stream.run(["abcd"]).unwrap();
        assert_eq!(text(&second[0]), (2, None, r#"{"lines":3,"bytes":4}"#));
        assert_eq!(stream.accumulated(), br#"{"lines":3,"bytes":4}"#);
    }

    #[test]
    fn a_broken_accumulator_is_told() {
        let failed = harness!(longest).accumulator("{").run(["a"]).unwrap_err();

        assert_eq!(failed.offset, None);
        assert!(
            failed
                .message
                .starts_with("the accumulator is not the JSON expected"),
            "{failed}"
        );
    }
}

mod look_back {
    use super::*;

    static SEEN: State<RefCell<BTreeSet<String>>> = State::new();

    fn is_new(line: &str) -> bool {
        SEEN.get_or_init(RefCell::default)
            .borrow_mut()
            .insert(line.to_owned())
    }

    #[smartmodule(filter)]
    fn once(line: &str) -> Result<bool> {
        Ok(is_new(line))
    }

    #[smartmodule(look_back)]
    fn remember(line: &str) -> Result<()> {
        is_new(line);
        Ok(())
    }

    #[test]
    fn what_was_seen_before_the_start_counts() {
        let kept = harness!(remember, once)
            .look_back(["a", "b"])
            .run(["b", "c", "c"])
            .unwrap();

        assert_eq!(texts(&kept), [(3, None, "c")]);
    }

    #[test]
    fn records_to_look_back_at_need_a_look_back() {
        let failed = harness!(once).look_back(["a"]).run(["b"]).unwrap_err();

        assert!(failed.message.contains("no `look_back`"), "{failed}");
    }
}

mod logging {
    use thalweg_smartmodule::testing::harness;
    use thalweg_smartmodule::{Level, Record, Result, debug, error, info, log, smartmodule, warn};

    #[smartmodule(filter)]
    fn chatty(line: &str, record: &Record) -> Result<bool> {
        let offset = record.offset();
        log!("{line} at {offset}");
        log!("{} at {at}", line, at = offset);
        log!(Level::Warn, "{line}: {:?}", record.key);
        error!("{line}");
        warn!("{line:>10}");
        info!("{}", line.len());
        debug!("a line");
        Ok(true)
    }

    #[test]
    fn every_form_of_a_line_can_be_logged() {
        assert_eq!(harness!(chatty).run(["a"]).unwrap().len(), 1);
    }
}
