//! A server process: what it has cost so far, and its end.

use std::fs;
use std::iter::Sum;
use std::process::{Child, Command};

use anyhow::Context;

/// What Linux counts processor time in, for programs (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

/// A process that is killed when dropped.
#[derive(Debug)]
pub(crate) struct ServerProcess(Child);

/// What a process has used since it started.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// Processor time, in seconds.
    pub(crate) cpu_seconds: f64,
    /// Memory resident now, in bytes.
    pub(crate) resident_bytes: u64,
    /// The most memory that was ever resident, in bytes.
    pub(crate) peak_bytes: u64,
}

impl Sum for Usage {
    fn sum<I: Iterator<Item = Self>>(usages: I) -> Self {
        usages.fold(Self::default(), |sum, usage| Self {
            cpu_seconds: sum.cpu_seconds + usage.cpu_seconds,
            resident_bytes: sum.resident_bytes + usage.resident_bytes,
            peak_bytes: sum.peak_bytes + usage.peak_bytes,
        })
    }
}

impl ServerProcess {
    pub(crate) fn new(child: Child) -> Self {
        Self(child)
    }

    pub(crate) fn usage(&self) -> anyhow::Result<Usage> {
        usage(self.0.id())
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the process `pid` has used since it started, by proc(5).
pub(crate) fn usage(pid: u32) -> anyhow::Result<Usage> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is the program's name in brackets, and may hold blanks.
    let (_, after_name) = stat
        .rsplit_once(')')
        .context("/proc/PID/stat has no name")?;
    let ticks = |field: usize| -> anyhow::Result<f64> {
        let text = after_name.split_whitespace().nth(field);
        Ok(text.context("/proc/PID/stat is short")?.parse()?)
    };
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kibibytes = |name: &str| -> anyhow::Result<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|rest| rest.split_whitespace().next());
        Ok(number.context("/proc/PID/status is short")?.parse()?)
    };
    Ok(Usage {
        cpu_seconds: (ticks(11)? + ticks(12)?) / TICKS_PER_SECOND,
        resident_bytes: kibibytes("VmRSS:")? << 10,
        peak_bytes: kibibytes("VmHWM:")? << 10,
    })
}

/// Runs a command to its end and returns what it printed.
pub(crate) fn output(command: &mut Command) -> anyhow::Result<String> {
    let what = format!("{command:?}");
    let output = command
        .output()
        .with_context(|| format!("failed to start {what}"))?;
    anyhow::ensure!(
        output.status.success(),
        "{what} failed ({}):\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}
