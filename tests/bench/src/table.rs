//! The table of results, as Markdown.

use std::fmt;

use crate::compare::Samples;
use crate::peers::Latency;

/// Figures, grouped by what was measured.
#[derive(Debug, Default)]
pub(crate) struct Table {
    throughput: Vec<[String; 6]>,
    latency: Vec<[String; 4]>,
    memory: Vec<[String; 3]>,
}

impl Table {
    /// Adds a throughput and returns it, for others to be compared with.
    pub(crate) fn add(
        &mut self,
        what: &str,
        who: &str,
        samples: &Samples,
        base: Option<f64>,
    ) -> f64 {
        let (megabytes, records, cpu) = samples.medians();
        self.throughput.push([
            what.to_owned(),
            who.to_owned(),
            format!("{megabytes:.0}"),
            records.map_or_else(String::new, |records| format!("{records:.0}")),
            cpu.map_or_else(String::new, |cpu| format!("{cpu:.2}")),
            base.map_or_else(String::new, |base| format!("{:.2}", megabytes / base)),
        ]);
        megabytes
    }

    pub(crate) fn add_latency(&mut self, what: &str, who: &str, samples: &[Latency]) {
        let of = |quantile: fn(&Latency) -> f64| {
            let all: Vec<_> = samples.iter().map(quantile).collect();
            format!("{:.3}", median(&all).unwrap_or(f64::NAN))
        };
        self.latency.push([
            what.to_owned(),
            who.to_owned(),
            of(|latency| latency.p50_ms),
            of(|latency| latency.p99_ms),
        ]);
    }

    pub(crate) fn add_memory(&mut self, when: &str, who: &str, bytes: u64) {
        self.memory.push([
            when.to_owned(),
            who.to_owned(),
            format!("{:.0}", bytes as f64 / (1 << 20) as f64),
        ]);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let throughput = [
            "figure",
            "who",
            "MB/s",
            "records/s",
            "server CPU s/GB",
            "ratio",
        ];
        write_table(f, throughput, &self.throughput)?;
        writeln!(f)?;
        write_table(f, ["figure", "who", "p50 ms", "p99 ms"], &self.latency)?;
        writeln!(f)?;
        write_table(f, ["when", "who", "MiB resident"], &self.memory)
    }
}

fn write_table<const N: usize>(
    f: &mut fmt::Formatter<'_>,
    head: [&str; N],
    rows: &[[String; N]],
) -> fmt::Result {
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(f, "| {} |", head.join(" | "))?;
    writeln!(f, "|{}", "---|".repeat(N))?;
    for row in rows {
        writeln!(f, "| {} |", row.join(" | "))?;
    }
    Ok(())
}

/// The middle of the samples; `None` of nothing.
pub(crate) fn median(samples: &[f64]) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}
