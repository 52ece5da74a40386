//! librdkafka's own performance tool, which drives Kafka and Thalweg alike.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use super::Load;
use crate::process::output;

/// The package whose sources hold librdkafka's, with its examples.
const PACKAGE: &str = "node-rdkafka@3.6.1";

/// `rdkafka_performance`, built once from librdkafka's sources.
#[derive(Debug)]
pub(crate) struct Librdkafka {
    program: PathBuf,
}

impl Librdkafka {
    /// Needs npm, a C compiler and make.
    pub(crate) fn build(work_dir: &Path) -> anyhow::Result<Self> {
        let folder = work_dir.canonicalize()?.join("librdkafka");
        let program = folder.join("rdkafka_performance");
        if !program.exists() {
            std::fs::create_dir_all(&folder)?;
            let packed = output(
                Command::new("npm")
                    .args(["pack", "--silent", PACKAGE])
                    .current_dir(&folder),
            )?;
            output(
                Command::new("tar")
                    .args(["-xzf", packed.trim(), "package/deps/librdkafka"])
                    .current_dir(&folder),
            )?;
            let sources = folder.join("package/deps/librdkafka");
            let configure = [
                "--disable-sasl",
                "--disable-ssl",
                "--disable-curl",
                "--disable-gssapi",
            ];
            output(
                Command::new("./configure")
                    .args(configure)
                    .current_dir(&sources),
            )?;
            for (part, target) in [("src", "all"), ("examples", "rdkafka_performance")] {
                output(
                    Command::new("make")
                        .args(["-C", part, target])
                        .current_dir(&sources),
                )?;
            }
            std::fs::copy(sources.join("examples/rdkafka_performance"), &program)?;
        }
        Ok(Self { program })
    }

    /// Produces to partition 0 with `acks=all` and the Java tool's batch settings: records a
    /// second, until the last is acknowledged.
    pub(crate) fn produce(&self, bootstrap: &str, topic: &str, load: Load) -> anyhow::Result<f64> {
        let mut command = self.command("-P", bootstrap, topic, load);
        command.args(["-a", "-1", "-s", &load.record_bytes.to_string()]);
        for setting in [
            "batch.size=524288",
            "linger.ms=5",
            "queue.buffering.max.messages=1000000",
        ] {
            command.args(["-X", setting]);
        }
        rate(&output(&mut command)?, "delivered")
    }

    /// Consumes partition 0 from the beginning: records a second.
    pub(crate) fn consume(&self, bootstrap: &str, topic: &str, load: Load) -> anyhow::Result<f64> {
        let mut command = self.command("-C", bootstrap, topic, load);
        command.args(["-o", "beginning"]);
        rate(&output(&mut command)?, "consumed")
    }

    fn command(&self, mode: &str, bootstrap: &str, topic: &str, load: Load) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args([mode, "-q", "-b", bootstrap, "-t", topic, "-p", "0"])
            .args(["-c", &load.records.to_string()]);
        command
    }
}

/// The summary line is `% 1000000 messages (1024000000 bytes) consumed in 855ms: 1169397 msgs/s
/// ...` or the same with `produced ..., N delivered (...)`.
fn rate(text: &str, done: &str) -> anyhow::Result<f64> {
    text.lines()
        .rfind(|line| line.contains(done) && line.contains(" msgs/s"))
        .and_then(|line| line.split_once(" msgs/s"))
        .and_then(|(head, _)| head.rsplit(' ').next())
        .and_then(|number| number.parse().ok())
        .with_context(|| format!("rdkafka_performance printed:\n{text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summaries_of_rdkafka_performance_are_read() {
        let produced = "% Sending 10 messages\n% 10 messages produced (10240 bytes), 10 delivered \
            (offset 9, 0 failed) in 2880ms: 347203 msgs/s and 355.54 MB/s, 0 produce failures";
        let consumed = "% 10 messages (10240 bytes) consumed in 855ms: 1169397 msgs/s (1197 MB/s)";

        assert_eq!(rate(produced, "delivered").unwrap(), 347_203.0);
        assert_eq!(rate(consumed, "consumed").unwrap(), 1_169_397.0);
        assert!(rate("% no such broker", "consumed").is_err());
    }
}
