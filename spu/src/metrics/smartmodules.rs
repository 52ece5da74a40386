//! What SmartModules do: how often they are called, with how many records, and what it costs.

use std::collections::BTreeSet;
use std::fmt::{self, Write};
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use thalweg_smartengine::StepMetrics;

/// How many modules are told apart. Clients choose the names of the modules that they send; those
/// that come later are counted together.
const MODULES_MAX: usize = 500;
/// What those are counted as.
const OTHERS: &str = "(others)";
/// How much of a module's name is kept, in bytes.
const NAME_BYTES_MAX: usize = 100;

/// Where a SmartModule is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// On a consumer's stream.
    Consume,
    /// On a producer's stream.
    Produce,
    /// On every record that is produced to a topic.
    Topic,
    /// In a transform.
    Transform,
}

impl EncodeLabelValue for Place {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        encoder.write_str(match self {
            Self::Consume => "consume",
            Self::Produce => "produce",
            Self::Topic => "topic",
            Self::Transform => "transform",
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    module: String,
    place: Place,
}

/// The counters of all SmartModules.
#[derive(Debug, Default)]
pub struct ModuleMetrics {
    calls: Family<Labels, Counter>,
    records_in: Family<Labels, Counter>,
    records_out: Family<Labels, Counter>,
    skipped: Family<Labels, Counter>,
    dead_lettered: Family<Labels, Counter>,
    errors: Family<Labels, Counter>,
    seconds: Family<Labels, Counter<f64, AtomicU64>>,
    memory: Family<Labels, Gauge<i64, AtomicI64>>,
    known: Mutex<BTreeSet<String>>,
}

impl ModuleMetrics {
    /// Counters that `registry` shows.
    pub(super) fn registered(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let counters = [
            ("calls", "Calls into the guest", &metrics.calls),
            (
                "records_in",
                "Records that it was given",
                &metrics.records_in,
            ),
            (
                "records_out",
                "Records that it let through or made",
                &metrics.records_out,
            ),
            (
                "skipped",
                "Records that it failed on and that were left out",
                &metrics.skipped,
            ),
            (
                "dead_lettered",
                "Records that it failed on and that went to a dead-letter topic",
                &metrics.dead_lettered,
            ),
            (
                "errors",
                "Failures, whatever became of the record",
                &metrics.errors,
            ),
        ];
        for (name, help, family) in counters {
            registry.register(name, help, family.clone());
        }
        registry.register_with_unit(
            "time",
            "Time in the guest",
            Unit::Seconds,
            metrics.seconds.clone(),
        );
        registry.register_with_unit(
            "memory",
            "Linear memory of all its instances",
            Unit::Bytes,
            metrics.memory.clone(),
        );
        metrics
    }

    /// The counters of the module called `name` at `place`.
    #[must_use]
    pub fn of(&self, name: &str, place: Place) -> ModuleUser {
        let labels = Labels {
            module: self.label(name),
            place,
        };
        let counter = |family: &Family<Labels, Counter>| family.get_or_create_owned(&labels);
        ModuleUser {
            counters: Arc::new(Counters {
                calls: counter(&self.calls),
                records_in: counter(&self.records_in),
                records_out: counter(&self.records_out),
                skipped: counter(&self.skipped),
                dead_lettered: counter(&self.dead_lettered),
                errors: counter(&self.errors),
                seconds: self.seconds.get_or_create_owned(&labels),
                memory: self.memory.get_or_create_owned(&labels),
            }),
            held_bytes: 0,
        }
    }

    /// The name under which a module is counted.
    fn label(&self, name: &str) -> String {
        let mut end = name.len().min(NAME_BYTES_MAX);
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        let name = &name[..end];
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains(name) {
            return name.to_owned();
        }
        if known.len() >= MODULES_MAX {
            return OTHERS.to_owned();
        }
        known.insert(name.to_owned());
        name.to_owned()
    }
}

#[derive(Debug)]
struct Counters {
    calls: Counter,
    records_in: Counter,
    records_out: Counter,
    skipped: Counter,
    dead_lettered: Counter,
    errors: Counter,
    seconds: Counter<f64, AtomicU64>,
    memory: Gauge<i64, AtomicI64>,
}

/// One instance of a module, as it is counted. Gives back the memory that it held when dropped.
#[derive(Debug)]
pub struct ModuleUser {
    counters: Arc<Counters>,
    held_bytes: i64,
}

impl ModuleUser {
    /// Counts what the module did since the last time, and how large its memory is now.
    pub fn add(&mut self, done: &StepMetrics) {
        let counters = &self.counters;
        counters.calls.inc_by(done.calls);
        counters.records_in.inc_by(done.records_in);
        counters.records_out.inc_by(done.records_out);
        counters.skipped.inc_by(done.skipped);
        counters.dead_lettered.inc_by(done.dead_lettered);
        counters.errors.inc_by(done.errors);
        counters.seconds.inc_by(done.time.as_secs_f64());
        let bytes = i64::try_from(done.memory_bytes).unwrap_or(i64::MAX);
        counters.memory.inc_by(bytes - self.held_bytes);
        self.held_bytes = bytes;
    }
}

impl Drop for ModuleUser {
    fn drop(&mut self) {
        self.counters.memory.dec_by(self.held_bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn metrics() -> (Registry, ModuleMetrics) {
        let mut registry = Registry::with_prefix("thalweg_smartmodule");
        let metrics = ModuleMetrics::registered(&mut registry);
        (registry, metrics)
    }

    fn holding(memory_bytes: u64) -> StepMetrics {
        StepMetrics {
            memory_bytes,
            ..StepMetrics::default()
        }
    }

    fn text(registry: &Registry) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, registry).unwrap();
        text
    }

    #[test]
    fn what_a_module_does_is_counted_under_its_name_and_place() {
        let (registry, metrics) = metrics();
        let mut late = metrics.of("late", Place::Consume);

        late.add(&StepMetrics {
            calls: 2,
            records_in: 100,
            records_out: 7,
            time: Duration::from_millis(500),
            ..StepMetrics::default()
        });

        let text = text(&registry);
        for line in [
            r#"thalweg_smartmodule_calls_total{module="late",place="consume"} 2"#,
            r#"thalweg_smartmodule_records_in_total{module="late",place="consume"} 100"#,
            r#"thalweg_smartmodule_records_out_total{module="late",place="consume"} 7"#,
            r#"thalweg_smartmodule_time_seconds_total{module="late",place="consume"} 0.5"#,
        ] {
            assert!(text.contains(line), "{line} is not in:\n{text}");
        }
    }

    #[test]
    fn an_instance_that_is_gone_holds_no_memory() {
        let (registry, metrics) = metrics();
        let mut first = metrics.of("late", Place::Produce);
        let mut second = metrics.of("late", Place::Produce);
        first.add(&holding(1000));
        second.add(&holding(65_536));
        first.add(&holding(131_072));

        drop(first);

        let held = r#"thalweg_smartmodule_memory_bytes{module="late",place="produce"} 65536"#;
        let text = text(&registry);
        assert!(text.contains(held), "{text}");
    }

    #[test]
    fn however_many_names_clients_make_up_the_series_are_bounded() {
        let (registry, metrics) = metrics();

        for number in 0..MODULES_MAX * 2 {
            let name = format!("{number}-{}", "é".repeat(200));
            metrics.of(&name, Place::Topic).add(&StepMetrics::default());
        }

        let text = text(&registry);
        let series = text
            .lines()
            .filter(|line| line.contains("calls_total"))
            .count();
        assert_eq!(series, MODULES_MAX + 1);
        assert!(text.contains(OTHERS));
    }
}
