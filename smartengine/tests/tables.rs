//! Modules look keys up in the tables that whoever opens their chain has.
#![allow(clippy::unwrap_used, reason = "a test that can't set itself up fails")]

mod support;

use std::collections::HashMap;
use std::sync::Arc;

use thalweg_record::Codec;
use thalweg_smartengine::{Chain, ChainError, ChainOptions, HostServices, Tables};

use support::{batch, engine, process, records, sdk_module, step};

/// One table, `names`.
#[derive(Debug)]
struct Names(HashMap<Vec<u8>, Vec<u8>>);

impl Tables for Names {
    fn look_up(&self, table: &str, key: &[u8], take: &mut dyn FnMut(&[u8])) -> bool {
        if let Some(name) = self.0.get(key) {
            take(name);
        }
        table == "names"
    }
}

fn open(tables: Option<Arc<dyn Tables>>) -> Chain {
    let named = step(&engine().load(&sdk_module("named")).unwrap());
    engine()
        .open_chain(ChainOptions {
            services: HostServices {
                tables,
                ..HostServices::default()
            },
            ..ChainOptions::new(vec![named])
        })
        .unwrap()
}

fn names(entries: &[(&str, &str)]) -> Arc<dyn Tables> {
    let bytes = |text: &str| text.as_bytes().to_vec();
    let entries = entries.iter().map(|(key, name)| (bytes(key), bytes(name)));
    Arc::new(Names(entries.collect()))
}

#[test]
fn a_module_sees_what_the_table_has_however_long_that_is() {
    let (long_key, long_name) = ("k".repeat(5_000), "n".repeat(70_000));
    let mut chain = open(Some(names(&[
        ("UA", "United"),
        ("", "empty"),
        (&long_key, &long_name),
    ])));

    let output = process(
        &mut chain,
        &batch(0, Codec::None, &["UA", "XX", "", &long_key]),
    )
    .unwrap();

    let values: Vec<_> = records(&output)
        .into_iter()
        .map(|(_, value)| value)
        .collect();
    let long = format!("{long_name} (70000)");
    assert_eq!(
        values,
        ["United (6)", "nobody knows XX", "empty (5)", &long]
    );
}

#[test]
fn where_there_is_no_table_the_module_says_how_to_have_one() {
    for tables in [None, Some(Arc::new(OtherTable) as Arc<dyn Tables>)] {
        let error = process(&mut open(tables), &batch(0, Codec::None, &["UA"])).unwrap_err();
        assert!(matches!(error, ChainError::Guest { .. }), "{error}");
        assert!(error.to_string().contains("--table names"), "{error}");
    }
}

#[derive(Debug)]
struct OtherTable;

impl Tables for OtherTable {
    fn look_up(&self, _: &str, _: &[u8], _: &mut dyn FnMut(&[u8])) -> bool {
        false
    }
}
