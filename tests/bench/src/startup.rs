//! How long Thalweg takes to start, and what idle partitions cost.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use crate::peers::{Load, Thalweg};
use crate::stopwatch::Stopwatch;

const PARTITIONS: u64 = 1000;
/// One more than what is promised, since the partitions don't get quite the same.
const SEGMENTS: u64 = 11;
/// How large the segments are: each batch fills one.
const SEGMENT_BYTES: u64 = 16 << 10;

/// What was found.
#[derive(Debug)]
pub(crate) struct Startup {
    /// From nothing to an SC and an SPU that serve.
    first: Duration,
    sc_idle_bytes: u64,
    spu_idle_bytes: u64,
    /// The same two with a topic of a thousand partitions.
    sc_partitions_bytes: u64,
    spu_partitions_bytes: u64,
    /// The SPU that was stopped serves again, with a thousand empty partitions.
    again_empty: Duration,
    /// How many segments were then filled.
    segments: usize,
    /// The SPU serves again, with those.
    again: Duration,
    /// And all partitions answer.
    again_all: Duration,
    spu_segments_bytes: u64,
}

/// Measures a cluster of its own below `dir`.
pub(crate) fn startup(dir: &Path) -> anyhow::Result<Startup> {
    let scratch = tempfile::tempdir_in(dir)?;
    let stopwatch = Stopwatch::start();
    let mut thalweg = Thalweg::start(&scratch.path().join("thalweg"))?;
    let first = stopwatch.elapsed();
    let idle = (thalweg.sc_usage()?, thalweg.spu_usage()?);

    thalweg.create_partitions("many", PARTITIONS, 1, SEGMENT_BYTES)?;
    thalweg.read_ends("many")?;
    let full = (thalweg.sc_usage()?, thalweg.spu_usage()?);
    let again_empty = thalweg.restart_spu()?;

    // Records without a key move on to the next partition with every batch, here of one record.
    let load = Load {
        records: PARTITIONS * SEGMENTS,
        record_bytes: SEGMENT_BYTES * 3 / 4,
    };
    thalweg.produce_singly("many", load)?;
    let segments = thalweg.count_segments()?;
    let again = thalweg.restart_spu()?;
    let stopwatch = Stopwatch::start();
    thalweg.read_ends("many")?;
    let again_all = again + stopwatch.elapsed();
    Ok(Startup {
        first,
        sc_idle_bytes: idle.0.resident_bytes,
        spu_idle_bytes: idle.1.resident_bytes,
        sc_partitions_bytes: full.0.resident_bytes,
        spu_partitions_bytes: full.1.resident_bytes,
        again_empty,
        segments,
        again,
        again_all,
        spu_segments_bytes: thalweg.spu_usage()?.resident_bytes,
    })
}

impl fmt::Display for Startup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes as f64 / (1 << 20) as f64;
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let times = [
            ("start of an SC and an SPU, from nothing", self.first),
            ("start of the SPU, 1000 empty partitions", self.again_empty),
            ("start of the SPU, 1000 full partitions", self.again),
            (
                "the same, until every partition has answered",
                self.again_all,
            ),
        ];
        for (what, time) in times {
            writeln!(f, "{what:<50} {:>7.0} ms", ms(time))?;
        }
        let segments = self.segments;
        writeln!(
            f,
            "{:<50} {segments:>7}",
            "segments of the 1000 full partitions"
        )?;
        let sizes = [
            ("SC, idle", self.sc_idle_bytes),
            ("SPU, idle", self.spu_idle_bytes),
            ("SC, 1000 empty partitions", self.sc_partitions_bytes),
            ("SPU, 1000 empty partitions", self.spu_partitions_bytes),
            ("SPU, 1000 full partitions", self.spu_segments_bytes),
        ];
        for (what, bytes) in sizes {
            writeln!(f, "{what:<50} {:>7.1} MiB", mib(bytes))?;
        }
        Ok(())
    }
}
