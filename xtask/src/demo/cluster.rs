//! The demo's cluster, and the one that cleans up after it.
//!
//! A watching shell holds the end of a pipe whose other end is ours: however this process ends,
//! the pipe closes, and the shell deletes the cluster. It is in a process group of its own, so
//! that Ctrl-C does not reach it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use crate::workspace::{capture, program, shown};

/// What the watching shell does: waits until the pipe closes, then deletes cluster and folder.
const CLEAN_UP: &str = "read -r _; \"$0\" cluster delete --yes --data-dir \"$1/cluster\" >/dev/null 2>\"$1/errors\" || cat \"$1/errors\" >&2; rm -rf \"$1\"";

/// How long the system takes at most to end a process that was killed.
const ENDS_WITHIN: Duration = Duration::from_secs(10);

/// A running cluster that goes when this value does.
pub(super) struct DemoCluster {
    folder: PathBuf,
    cleaner: Child,
    /// Where its SC is.
    pub(super) admin: String,
    /// Where its SPU is.
    pub(super) data: String,
    spu_pid: i32,
}

/// What came out of a consumer.
#[derive(Debug, Default)]
pub(super) struct Consumed {
    /// How many records.
    pub(super) lines: u64,
    /// How many bytes their values have.
    pub(super) bytes: u64,
    /// The first record.
    pub(super) first: String,
    /// The last record of each partition.
    pub(super) last_of_partition: BTreeMap<i64, String>,
}

impl DemoCluster {
    /// Starts it.
    pub(super) fn start() -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("thalweg-demo-")
            .tempdir()?
            .keep();
        let cleaner = Command::new("sh")
            .args(["-c", CLEAN_UP])
            .arg(program("thalweg"))
            .arg(&folder)
            .env("THALWEG_CONFIG", folder.join("config.toml"))
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn()
            .context("failed to run `sh`")?;
        let mut cluster = Self {
            folder,
            cleaner,
            admin: String::new(),
            data: String::new(),
            spu_pid: 0,
        };
        cluster.start_what_is_down()?;
        Ok(cluster)
    }

    /// Starts the servers that are not running, on the ports that they had.
    pub(super) fn start_what_is_down(&mut self) -> Result<()> {
        let data_dir = self.folder.join("cluster");
        let started = self.thalweg(&[
            "cluster",
            "start",
            "--output=json",
            "--data-dir",
            &data_dir.to_string_lossy(),
        ])?;
        let started: serde_json::Value = serde_json::from_str(&started)?;
        let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
        self.admin =
            text(&started["sc"]["admin"]).context("`cluster start` named no controller")?;
        let spu = &started["spus"][0];
        self.data = text(&spu["data"]).context("`cluster start` named no SPU")?;
        let pid = spu["pid"].as_i64().and_then(|pid| pid.try_into().ok());
        self.spu_pid = pid.context("`cluster start` named no process of the SPU")?;
        Ok(())
    }

    /// Kills the SPU, as a machine that fails would: it can do nothing more. Returns once its process is gone: until then
    /// `cluster start` sees an SPU that runs.
    pub(super) fn kill_spu(&self) -> Result<()> {
        let pid = Pid::from_raw(self.spu_pid).context("a process has a number")?;
        let process = pidfd_open(pid, PidfdFlags::empty()).context("failed to find the SPU")?;
        kill_process(pid, Signal::KILL).context("failed to kill the SPU")?;
        let mut ended = [PollFd::new(&process, PollFlags::IN)];
        let timeout = Timespec::try_from(ENDS_WITHIN).context("ten seconds are a time")?;
        let count = poll(&mut ended, Some(&timeout)).context("failed to wait for the SPU's end")?;
        if count == 0 {
            bail!(
                "the SPU was killed and has not ended after {} s",
                ENDS_WITHIN.as_secs()
            );
        }
        Ok(())
    }

    /// Starts `thalweg` against the cluster.
    pub(super) fn begin(&self, arguments: &[&str]) -> Result<Child> {
        let mut command = self.command(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
            .spawn()
            .with_context(|| format!("failed to run {}", shown(&command)))
    }

    /// A place for files, gone with the cluster.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Runs `thalweg` against the cluster; its stdout.
    pub(super) fn thalweg(&self, arguments: &[&str]) -> Result<String> {
        capture(self.command(arguments).stdin(Stdio::null()))
    }

    /// Consumes a topic from its beginning to its end.
    pub(super) fn consume(&self, topic: &str, more: &[&str]) -> Result<Consumed> {
        const TEMPLATE: &str = "{{partition}} {{value}}";
        let consume = [
            "consume",
            topic,
            "--beginning",
            "--disable-continuous",
            "--format",
            TEMPLATE,
        ];
        let mut command = self.command(&[&consume, more].concat());
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().context("its stdout is a pipe")?;
        let consumed = Consumed::read(BufReader::with_capacity(1 << 20, output))?;
        let mut errors = String::new();
        // Only a failed consumer says more than a pipe holds, and it has ended by now.
        child
            .stderr
            .take()
            .context("its stderr is a pipe")?
            .read_to_string(&mut errors)?;
        let status = child.wait()?;
        if !status.success() {
            bail!("{} ended with {status}\n{}", shown(&command), errors.trim());
        }
        Ok(consumed)
    }

    /// Stops and deletes it, and says if that failed.
    pub(super) fn stop(mut self) -> Result<()> {
        let status = self.clean_up()?;
        if !status.success() {
            bail!(
                "failed to delete the demo's cluster in {}",
                self.folder.display()
            );
        }
        Ok(())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("thalweg"));
        command
            .args(arguments)
            // The user's own profiles are left alone.
            .env("THALWEG_CONFIG", self.folder.join("config.toml"))
            .env_remove("THALWEG_CLUSTER")
            .env_remove("THALWEG_PROFILE");
        command
    }

    fn clean_up(&mut self) -> std::io::Result<std::process::ExitStatus> {
        drop(self.cleaner.stdin.take());
        self.cleaner.wait()
    }
}

impl Drop for DemoCluster {
    fn drop(&mut self) {
        // The error that led here says more than one of the cleaning up.
        let _ = self.clean_up();
    }
}

impl Consumed {
    /// Reads lines of partition, space, value.
    fn read(mut lines: impl BufRead) -> Result<Self> {
        let mut consumed = Self::default();
        let mut last: BTreeMap<i64, Vec<u8>> = BTreeMap::new();
        let mut line = Vec::new();
        loop {
            line.clear();
            if lines.read_until(b'\n', &mut line)? == 0 {
                break;
            }
            let text = line.strip_suffix(b"\n").unwrap_or(&line);
            let space = text
                .iter()
                .position(|byte| *byte == b' ')
                .context("every line has a partition")?;
            let partition = std::str::from_utf8(&text[..space])?.parse()?;
            let value = &text[space + 1..];
            if consumed.lines == 0 {
                consumed.first = String::from_utf8_lossy(value).into_owned();
            }
            consumed.lines += 1;
            consumed.bytes += value.len() as u64;
            let kept = last.entry(partition).or_default();
            kept.clear();
            kept.extend_from_slice(value);
        }
        let text = |value: Vec<u8>| String::from_utf8_lossy(&value).into_owned();
        consumed.last_of_partition = last
            .into_iter()
            .map(|(partition, value)| (partition, text(value)))
            .collect();
        Ok(consumed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_partitions_last_record_is_kept() {
        let consumed = Consumed::read(&b"0 a b\n1 c\n0 d\n"[..]).unwrap();

        assert_eq!((consumed.lines, consumed.bytes), (3, 5));
        assert_eq!(consumed.first, "a b");
        assert_eq!(
            consumed.last_of_partition,
            [(0, "d".to_owned()), (1, "c".to_owned())].into()
        );
    }
}
