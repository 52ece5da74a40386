//! Every example module of the repository in Rust, and what it is given.

/// One module with its settings, and what it is given.
pub(super) struct Case {
    pub(super) package: &'static str,
    pub(super) module: &'static str,
    pub(super) params: &'static [(&'static str, &'static str)],
    pub(super) on_error: Option<&'static str>,
    /// What lies in the log before the records, all of which is looked back at.
    pub(super) before: &'static [&'static str],
    pub(super) inputs: &'static [&'static str],
    /// The records' keys, in turn.
    pub(super) keys: &'static [&'static str],
    pub(super) aggregate: Option<Aggregate>,
}

/// How an aggregate accumulates.
pub(super) struct Aggregate {
    pub(super) initial: &'static str,
    pub(super) by_key: bool,
}

const fn case(
    package: &'static str,
    module: &'static str,
    inputs: &'static [&'static str],
) -> Case {
    Case {
        package,
        module,
        params: &[],
        on_error: None,
        before: &[],
        inputs,
        keys: &["k"],
        aggregate: None,
    }
}

impl Case {
    const fn with(mut self, params: &'static [(&'static str, &'static str)]) -> Self {
        self.params = params;
        self
    }

    const fn on_error(mut self, policy: &'static str) -> Self {
        self.on_error = Some(policy);
        self
    }

    const fn after(mut self, before: &'static [&'static str]) -> Self {
        self.before = before;
        self
    }

    const fn keys(mut self, keys: &'static [&'static str]) -> Self {
        self.keys = keys;
        self
    }

    const fn from(mut self, initial: &'static str) -> Self {
        self.aggregate = Some(Aggregate {
            initial,
            by_key: false,
        });
        self
    }

    const fn by_key_from(mut self, initial: &'static str) -> Self {
        self.aggregate = Some(Aggregate {
            initial,
            by_key: true,
        });
        self.keys(&["a", "b", "a"])
    }
}

const FLIGHTS: &str = "thalweg-example-flights";
const SDK: &str = "thalweg-smartmodule";
const PORTS: &str = "thalweg-example-ports";

const DEPARTURES: &[&str] = &[
    "2013,1,1,517,515,2,830,819,11,UA,1545,N14228,EWR,IAH,227,1400,5,15,2013-01-01 05:00:00",
    "2013,1,1,533,529,90,850,830,20,UA,1714,N24211,LGA,IAH,227,1416,5,29,2013-01-01 05:00:00",
    "2013,1,1,NA,1630,NA,NA,1815,NA,EV,4308,N18120,EWR,RDU,NA,416,16,30,2013-01-01 16:00:00",
];
const LINES: &[&str] = &[
    "is 123-45-6789",
    "ERROR no disk",
    "",
    "caf\u{e9} ERROR",
    "12",
];
const MAIL: &[&str] = &["from Ada.Lovelace@example.org to bob@x.co: hi", "no @ here"];
const LOGS: &[&str] = &[
    r#"{"level":"debug","n":1}"#,
    r#"{"level":"error","n":2}"#,
    r#"{"level":"warn","n":3}"#,
];
const CUSTOMERS: &[&str] = &[
    r#"{"id":7,"name":"Ada","iban":"DE02","address":{"street":"A 1","city":"Ulm"}}"#,
    r#"{"id":8,"name":"Bo","iban":"DE03","address":{"street":"B 2","city":"Bonn"}}"#,
];
const FIELDS: &[&str] = &[r#"{"a":5,"b":-1}"#, r#"{"a":2}"#, r#"{"a":9}"#];
const ORDERS: &[&str] = &[
    r#"{"id":7,"customer":"Ada","lines":[{"sku":"cap","count":1}]}"#,
    r#"{"id":8,"customer":"Bo","lines":[{"sku":"pen","count":2},{"sku":"ink","count":1}]}"#,
];
const PRICED: &[&str] = &["Ada, 12.5", "Ada", "7,7", "Bob,NaN", "Cleo,3"];
const NUMBERS: &[&str] = &["1", "2", "40", "-3"];
const ARRAYS: &[&str] = &[r#"["a",{"b":1}]"#, "[]", "[null,2]"];
const LETTERS: &[&str] = &["b", "x", "c", "x", "y"];
const MOODS: &[&str] = &["fine", "fail", "good", "panic", "log", "end"];

pub(super) const CASES: &[Case] = &[
    case(FLIGHTS, "late", DEPARTURES),
    case(FLIGHTS, "to_json", DEPARTURES),
    case(FLIGHTS, "cancelled", DEPARTURES),
    case(FLIGHTS, "airports", DEPARTURES),
    case(FLIGHTS, "delays_by_carrier", DEPARTURES),
    case(FLIGHTS, "average_delay", NUMBERS).by_key_from(""),
    case(SDK, "behind", LINES).with(&[("text", "ERR")]),
    case(SDK, "contains", LINES).with(&[("text", "ERROR")]),
    case(SDK, "dedup", LETTERS).after(&["a", "b", "c"]),
    case(SDK, "grumpy", MOODS).by_key_from("").on_error("skip"),
    case(SDK, "joined", NUMBERS).from("0"),
    case(SDK, "loud", LINES).with(&[("text", "ERR")]),
    case(SDK, "masked", LINES),
    case(SDK, "moody", MOODS).on_error("skip"),
    case(SDK, "numbers", LINES),
    case(SDK, "picky", LINES)
        .with(&[("refuse", "12")])
        .on_error("skip"),
    case(SDK, "repeat", NUMBERS),
    case(SDK, "shout", LINES),
    case(SDK, "sorted", LINES),
    case(SDK, "sum", NUMBERS),
    case(SDK, "sum", NUMBERS).by_key_from("100"),
    case(SDK, "word_count", LINES).from("7"),
    case(SDK, "words", LINES),
    case(PORTS, "age", NUMBERS),
    case(PORTS, "average", NUMBERS),
    case(PORTS, "keys_once", LETTERS)
        .with(&[("count", "10")])
        .keys(&["b", "d", "e", "f"])
        .after(&["1", "2"]),
    case(PORTS, "enrich", NUMBERS),
    case(PORTS, "field_counts", FIELDS),
    case(PORTS, "json_filter", LOGS).with(&[("min_level", "warn")]),
    case(PORTS, "json_project", CUSTOMERS),
    case(PORTS, "json_split", ARRAYS),
    case(PORTS, "mask_email", MAIL),
    case(PORTS, "prefix", LINES).with(&[("prefix", "- ")]),
    case(PORTS, "regex_filter", LINES).with(&[("regex", "ER+OR")]),
    case(PORTS, "running_sum", NUMBERS).by_key_from("5"),
    case(PORTS, "typed", ORDERS)
        .with(&[("prices", r#"{"pen":120,"ink":450}"#), ("shipping", "300")]),
    case(PORTS, "uppercase", LINES),
    case(PORTS, "validate", PRICED),
];
