//! One process of a cluster.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};

/// An SC or SPU process. Killed when dropped.
#[derive(Debug)]
pub struct Node {
    name: String,
    log: PathBuf,
    child: Child,
    ready: serde_json::Value,
}

impl Node {
    /// Starts `program` with `arguments` and waits for its ready line. Its log lines are appended
    /// to `log`.
    ///
    /// # Errors
    /// When it can't be started, or ends before it serves: with the end of its log.
    pub fn start(program: &str, arguments: &[String], log: &Path) -> anyhow::Result<Self> {
        Self::serve(
            program,
            Command::new(program_path(program)?),
            arguments,
            log,
        )
    }

    /// As [`Node::start`], with variables in its environment.
    ///
    /// # Errors
    /// As [`Node::start`].
    pub fn start_with(
        program: &str,
        arguments: &[String],
        variables: &[(&str, &Path)],
        log: &Path,
    ) -> anyhow::Result<Self> {
        let mut command = Command::new(program_path(program)?);
        command.envs(variables.iter().copied());
        Self::serve(program, command, arguments, log)
    }

    /// As [`Node::start`], in a network namespace that `ip netns` knows.
    ///
    /// # Errors
    /// As [`Node::start`].
    pub fn start_in(
        namespace: &str,
        program: &str,
        arguments: &[String],
        log: &Path,
    ) -> anyhow::Result<Self> {
        // `ip` becomes the program, so that its process is the program's.
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", namespace])
            .arg(program_path(program)?);
        Self::serve(program, command, arguments, log)
    }

    fn serve(
        program: &str,
        mut command: Command,
        arguments: &[String],
        log: &Path,
    ) -> anyhow::Result<Self> {
        let log_file = File::options().create(true).append(true).open(log)?;
        let mut child = command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log_file)
            .spawn()
            .with_context(|| format!("failed to start {program}"))?;
        let stdout = child.stdout.take().context("stdout is piped")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let mut node = Self {
            name: program.to_owned(),
            log: log.to_owned(),
            child,
            ready: serde_json::Value::Null,
        };
        match serde_json::from_str(&line) {
            Ok(ready) => node.ready = ready,
            Err(_) => bail!(
                "{program} ended before it served ({}):\n{}",
                node.child.wait()?,
                node.log_text()
            ),
        }
        Ok(node)
    }

    /// A field of the line that the process printed when it served.
    ///
    /// # Panics
    /// When there is no such field.
    #[must_use]
    pub fn ready_field(&self, field: &str) -> &str {
        self.ready[field]
            .as_str()
            .unwrap_or_else(|| panic!("{} printed no `{field}`: {}", self.name, self.ready))
    }

    /// The process's id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything that it has logged, over all its lives.
    #[must_use]
    pub fn log_text(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Kills it with no warning (SIGKILL), and waits until it is gone.
    pub fn kill(mut self) {
        // An error means that it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to end (SIGTERM), and waits until it has.
    ///
    /// # Errors
    /// When it could not be asked.
    pub fn stop(mut self) -> anyhow::Result<ExitStatus> {
        self.ask_to_end()?;
        Ok(self.child.wait()?)
    }

    /// Asks it to end (SIGTERM), and does not wait.
    ///
    /// # Errors
    /// When it has ended.
    pub fn ask_to_end(&self) -> anyhow::Result<()> {
        self.signal(Signal::TERM)
    }

    /// Stops it from running (SIGSTOP) until [`Node::resume`].
    ///
    /// # Errors
    /// When it has ended.
    pub fn pause(&self) -> anyhow::Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets it run again.
    ///
    /// # Errors
    /// When it has ended.
    pub fn resume(&self) -> anyhow::Result<()> {
        self.signal(Signal::CONT)
    }

    /// How much memory it has resident, in bytes.
    ///
    /// # Errors
    /// When it has ended.
    pub fn resident_bytes(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let kibibytes: u64 = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|rest| rest.split_whitespace().next())
            .context("/proc has no VmRSS")?
            .parse()?;
        Ok(kibibytes << 10)
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = i32::try_from(self.pid())?;
        let pid = Pid::from_raw(pid).context("a process id is never 0")?;
        Ok(kill_process(pid, signal)?)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where `program` lies: in `THALWEG_BIN_DIR`, or beside the executable that runs, or beside the
/// folder that a test's executable is in (`target/<profile>/deps`).
///
/// # Errors
/// When it is in neither place: it is to be built first.
pub fn program_path(program: &str) -> anyhow::Result<PathBuf> {
    let folders = match std::env::var_os("THALWEG_BIN_DIR") {
        Some(folder) => vec![PathBuf::from(folder)],
        None => {
            let executable = std::env::current_exe()?;
            executable
                .ancestors()
                .skip(1)
                .take(2)
                .map(Path::to_owned)
                .collect()
        }
    };
    let mut paths = folders.iter().map(|folder| folder.join(program));
    paths.find(|path| path.exists()).with_context(|| {
        format!(
            "`{program}` is not in {folders:?}: build the programs first, with `cargo build --release --bins`"
        )
    })
}
