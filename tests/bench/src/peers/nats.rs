//! NATS JetStream: one server, one stream on the disk, with its own client.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;

use super::{Load, Run};
use crate::process::{ServerProcess, Usage, output};

/// A running server.
#[derive(Debug)]
pub(crate) struct Nats {
    program: PathBuf,
    process: ServerProcess,
    url: String,
}

impl Nats {
    /// Builds the peer and starts it with its data in `dir`.
    pub(crate) fn start(work_dir: &Path, dir: &Path) -> anyhow::Result<Self> {
        let program = work_dir.join("nats-peer");
        output(
            Command::new("go")
                .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("nats"))
                .args(["build", "-o"])
                .arg(&program)
                .arg("."),
        )?;
        let mut child = Command::new(&program)
            .arg("serve")
            .arg(dir)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let stdout = child.stdout.take().context("stdout is piped")?;
        let process = ServerProcess::new(child);
        let mut url = String::new();
        BufReader::new(stdout).read_line(&mut url)?;
        Ok(Self {
            program,
            process,
            url: url.trim().to_owned(),
        })
    }

    pub(crate) fn publish(&self, load: Load) -> anyhow::Result<Run> {
        self.run("publish", load)
    }

    pub(crate) fn consume(&self, load: Load) -> anyhow::Result<Run> {
        self.run("consume", load)
    }

    pub(crate) fn usage(&self) -> anyhow::Result<Usage> {
        self.process.usage()
    }

    fn run(&self, verb: &str, load: Load) -> anyhow::Result<Run> {
        let before = self.usage()?;
        let seconds = output(
            Command::new(&self.program)
                .args([verb, &self.url])
                .args([load.records.to_string(), load.record_bytes.to_string()]),
        )?;
        Ok(Run {
            load,
            seconds: seconds.trim().parse()?,
            server_cpu_seconds: self.usage()?.cpu_seconds - before.cpu_seconds,
        })
    }
}
