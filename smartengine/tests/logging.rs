//! What a guest logs reaches the host's log, and what is too much is counted.
#![allow(clippy::unwrap_used, reason = "a test that can't set itself up fails")]

mod support;

use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use thalweg_record::Codec;
use thalweg_smartengine::CallLimits;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use support::{batch, chain_of, process, sdk_module};

/// Keeps the lines that are meant for the target `smartmodule`.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<(Level, String)>>>);

struct Message<'a>(&'a mut String);

impl Visit for Message<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            *self.0 = format!("{value:?}");
        }
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "smartmodule"
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = String::new();
        event.record(&mut Message(&mut line));
        self.0
            .lock()
            .unwrap()
            .push((*event.metadata().level(), line));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[test]
fn a_guest_that_logs_too_much_is_cut_short_and_counted() {
    let lines = Lines::default();

    tracing::subscriber::with_default(lines.clone(), || {
        let mut chain = chain_of(&sdk_module("moody"), CallLimits::default()).unwrap();
        let output = process(&mut chain, &batch(7, Codec::None, &["log"; 50])).unwrap();
        assert_eq!(output.record_count, 50);
    });

    let lines = lines.0.lock().unwrap();
    assert_eq!(lines[0], (Level::WARN, "seen 7".to_owned()));
    assert!(lines.len() >= 21 && lines.len() < 50, "{lines:?}");
    let said: usize = lines
        .iter()
        .filter(|(_, line)| line.starts_with("seen"))
        .count();
    let dropped: usize = lines
        .iter()
        .filter_map(|(_, line)| line.strip_suffix(" lines dropped")?.parse::<usize>().ok())
        .sum();
    assert_eq!(said + dropped, 50, "{lines:?}");
}
