//! Every kind of SmartModule in the engine against the same work natively, over the same batches of
//! 1 MiB: both sides start from a batch as it is on disk and end with the batch that a consumer
//! gets. And three modules one after the other against one that does the work of all three.
//!
//! The guests are the SDK's examples. *By hand* writes records straight into the output, as a native
//! program would; *as the SDK has it* gives owned keys and values first, as the SDK's functions do. `keep` is a filter that keeps everything after a glance at
//! each value's length; its native side does the same.
#![allow(clippy::unwrap_used, reason = "a test that can't set itself up fails")]

mod support;

use std::collections::HashMap;
use std::hint::black_box;
use std::path::Path;

use memchr::memmem::Finder;
use thalweg_record::{
    Batch, BatchHeader, Codec, Header, Record, RecordFields, assemble_batch, write_record,
};
use thalweg_smartengine::{Accumulation, EngineOptions, RestoredAccumulators, SmartEngine};

use support::{TEXT, Table, build, built, chain, is_asked_for, run};

/// Writes what `each` makes of the records under the batch's header.
fn native(bytes: &[u8], mut each: impl FnMut(&Record<'_>, &mut Out<'_>)) -> Vec<u8> {
    let batch = Batch::parse(bytes).unwrap();
    let records = batch.records(usize::MAX).unwrap();
    let mut section = Vec::new();
    let mut record_count = 0;
    for record in &records {
        let record = record.unwrap();
        let mut out = Out {
            section: &mut section,
            offset_delta: record.offset.0 as i32,
            record_count: 0,
        };
        each(&record, &mut out);
        record_count += out.record_count;
    }
    let header = BatchHeader {
        record_count,
        ..*batch.header()
    };
    assemble_batch(header, &section, Codec::None).unwrap()
}

struct Out<'a> {
    section: &'a mut Vec<u8>,
    offset_delta: i32,
    record_count: i32,
}

impl Out<'_> {
    fn write(&mut self, key: Option<&[u8]>, value: &[u8], headers: &[Header<'_>]) {
        let fields = RecordFields {
            offset_delta: self.offset_delta,
            timestamp_delta: 0,
            key,
            value: Some(value),
            headers,
        };
        write_record(self.section, &fields);
        self.record_count += 1;
    }
}

/// A filter, which copies the records that it keeps.
fn native_filter(bytes: &[u8], keep: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let batch = Batch::parse(bytes).unwrap();
    let records = batch.records(usize::MAX).unwrap();
    let mut kept = Vec::new();
    let mut record_count = 0;
    for (record, encoded) in records.iter().zip(records.iter_encoded()) {
        if keep(record.unwrap().value.unwrap_or_default()) {
            kept.extend_from_slice(encoded.unwrap());
            record_count += 1;
        }
    }
    let header = BatchHeader {
        record_count,
        ..*batch.header()
    };
    assemble_batch(header, &kept, Codec::None).unwrap()
}

fn shout(record: &Record<'_>, value: &str, out: &mut Out<'_>) {
    let offset = record.offset.0.to_string();
    let header = Header::new("offset", offset.as_bytes());
    out.write(record.key, value.to_uppercase().as_bytes(), &[header]);
}

fn text<'a>(record: &Record<'a>) -> &'a str {
    std::str::from_utf8(record.value.unwrap()).unwrap()
}

fn words_in(value: &[u8]) -> usize {
    let words = value.split(u8::is_ascii_whitespace);
    words.filter(|word| !word.is_empty()).count()
}

fn count_words(count: &mut Vec<u8>, value: &[u8]) {
    let before: usize = match std::str::from_utf8(count).unwrap() {
        "" => 0,
        text => text.parse().unwrap(),
    };
    *count = (before + words_in(value)).to_string().into_bytes();
}

/// What the SDK's functions give.
type Made = (Option<Vec<u8>>, Vec<u8>);

/// As [`native`], for a function that gives what it makes.
fn native_owned(bytes: &[u8], each: impl Fn(&Record<'_>) -> Vec<Made>) -> Vec<u8> {
    native(bytes, |record, out| {
        for (key, value) in &each(record) {
            out.write(key.as_deref(), value, &[]);
        }
    })
}

type Native<'a> = &'a dyn Fn(&[u8]) -> Vec<u8>;

struct Bench<'a> {
    engine: &'a SmartEngine,
    directory: &'a Path,
    batch: &'a [u8],
    value_bytes: usize,
}

impl Bench<'_> {
    fn pair(&self, name: &str, modules: &[&str], native: impl FnMut(&[u8]) -> Vec<u8>) {
        self.compare(name, modules, Accumulation::default(), native, None);
    }

    /// Prints a row of one or two native functions against a chain.
    fn compare(
        &self,
        name: &str,
        modules: &[&str],
        accumulation: Accumulation,
        mut native: impl FnMut(&[u8]) -> Vec<u8>,
        owned: Option<Native<'_>>,
    ) {
        let name = format!("{name}, {} B", self.value_bytes);
        if !is_asked_for(&name) {
            return;
        }
        let mut chain = chain(self.engine, self.directory, modules, accumulation);
        let mut out = Vec::new();
        let mut table = Table::new(self.batch.len()).way("by hand", || {
            black_box(native(black_box(self.batch)));
        });
        if let Some(owned) = owned {
            table = table.way("as the SDK has it", move || {
                black_box(owned(black_box(self.batch)));
            });
        }
        table
            .way("guest", || {
                run(&mut chain, black_box(self.batch), &mut out);
            })
            .print(&name);
    }

    /// Prints a row of one chain against another.
    fn chains(&self, name: &str, one: &[&str], other: &[&str]) {
        let name = format!("{name}, {} B", self.value_bytes);
        if !is_asked_for(&name) {
            return;
        }
        let open = |names| chain(self.engine, self.directory, names, Accumulation::default());
        let (mut first, mut second) = (open(one), open(other));
        let (mut out, mut other_out) = (Vec::new(), Vec::new());
        Table::new(self.batch.len())
            .way("one", || {
                run(&mut first, black_box(self.batch), &mut out);
            })
            .way("other", || {
                run(&mut second, black_box(self.batch), &mut other_out);
            })
            .print(&name);
    }
}

fn main() {
    let engine = SmartEngine::new(EngineOptions::default()).unwrap();
    let directory = built();
    for value_bytes in [100, 1024] {
        let batch = build(value_bytes);
        let bench = Bench {
            engine: &engine,
            directory: &directory,
            batch: &batch,
            value_bytes,
        };
        rows(&bench);
    }
}

fn rows(bench: &Bench<'_>) {
    let finder = Finder::new(TEXT);
    bench.pair("keep", &["moody"], |batch| {
        native_filter(batch, |value| black_box(value).len() != 4)
    });
    bench.pair("filter", &["contains"], |batch| {
        native_filter(batch, |value| finder.find(value).is_some())
    });
    let none = Accumulation::default;
    let shouted = |batch: &[u8]| {
        native(batch, |record, out| {
            let value = text(record).to_uppercase();
            let headers = [("offset".to_owned(), record.offset.0.to_string())];
            let key = record.key.map(<[u8]>::to_vec);
            let headers: Vec<_> = headers
                .iter()
                .map(|(name, value)| Header::new(name, value.as_bytes()))
                .collect();
            out.write(key.as_deref(), value.as_bytes(), &headers);
        })
    };
    let by_hand = |batch: &[u8]| native(batch, |record, out| shout(record, text(record), out));
    bench.compare("map", &["shout"], none(), by_hand, Some(&shouted));
    bench.pair("map, masked", &["masked"], |batch| {
        native(batch, |record, out| {
            let mask = |byte: &u8| if byte.is_ascii_digit() { b'*' } else { *byte };
            let value: Vec<u8> = record.value.unwrap().iter().map(mask).collect();
            out.write(record.key, &value, &[]);
        })
    });
    bench.pair("filter_map", &["behind"], |batch| {
        native(batch, |record, out| {
            let value = record.value.unwrap();
            if let Some(at) = finder.find(value) {
                out.write(record.key, &value[at + TEXT.len()..], &[]);
            }
        })
    });
    let words = |batch: &[u8]| {
        native_owned(batch, |record| {
            text(record)
                .split_whitespace()
                .map(|word| (record.key.map(<[u8]>::to_vec), word.into()))
                .collect()
        })
    };
    let by_hand = |batch: &[u8]| {
        native(batch, |record, out| {
            for word in text(record).split_whitespace() {
                out.write(record.key, word.as_bytes(), &[]);
            }
        })
    };
    bench.compare("array_map", &["words"], none(), by_hand, Some(&words));
    bench.pair("aggregate", &["word_count"], |batch| {
        let mut count = Vec::new();
        native(batch, |record, out| {
            count_words(&mut count, record.value.unwrap());
            out.write(record.key, &count, &[]);
        })
    });
    let by_key = Accumulation::ByKey {
        initial: Vec::new(),
        restored: RestoredAccumulators::default(),
    };
    let counted = |batch: &[u8]| {
        let mut counts: HashMap<Vec<u8>, Vec<u8>> = HashMap::new();
        native(batch, |record, out| {
            let key = record.key.unwrap();
            if !counts.contains_key(key) {
                counts.insert(key.to_vec(), Vec::new());
            }
            let count = counts.get_mut(key).unwrap();
            count_words(count, record.value.unwrap());
            out.write(record.key, count, &[]);
        })
    };
    bench.compare("aggregate by key", &["word_count"], by_key, counted, None);
    bench.chains(
        "one module, then three",
        &["loud"],
        &["contains", "behind", "shout"],
    );
}
