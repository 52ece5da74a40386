//! A member of a consumer group in a process of its own, which says what happens to it.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use thalweg_runtime::{Clock, SystemClock};

use crate::ClientProgram;

/// How long something may take to happen.
const WAIT: Duration = Duration::from_secs(90);

/// A member of a group. Killed when dropped.
#[derive(Debug)]
pub struct GroupMember {
    child: Child,
    said: Arc<Said>,
}

/// What it has said so far.
#[derive(Debug, Default)]
struct Said {
    lines: Mutex<Vec<String>>,
    more: Condvar,
}

impl GroupMember {
    /// Starts a program that says what `group_member.py` says.
    ///
    /// # Panics
    /// When it can't be started.
    #[must_use]
    pub fn start(program: &ClientProgram, arguments: &[&str]) -> Self {
        let mut child = program
            .command()
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the member can be started");
        let said = Arc::<Said>::default();
        let stdout = child.stdout.take().expect("stdout is piped");
        let hearing = Arc::clone(&said);
        // It ends with the process.
        std::thread::spawn(move || hearing.hear(stdout));
        Self { child, said }
    }

    /// Everything that it has said.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.said.lock().clone()
    }

    /// The partitions that it has, by what it says.
    #[must_use]
    pub fn owned(&self) -> BTreeSet<i32> {
        owned(&self.said.lock())
    }

    /// Waits until what it has said fits.
    ///
    /// # Panics
    /// When it does not in time: with all that it has said.
    pub fn wait(&self, what: &str, fits: impl Fn(&[String]) -> bool) {
        let clock = SystemClock::new();
        let began_at = clock.monotonic();
        let mut lines = self.said.lock();
        while !fits(&lines) {
            let left = WAIT.saturating_sub(clock.monotonic().saturating_sub(began_at));
            let notable =
                |line: &&String| !line.starts_with("record") && !line.starts_with("committed");
            assert!(
                !left.is_zero(),
                "waited in vain until {what}: {:#?}",
                lines.iter().filter(notable).collect::<Vec<_>>()
            );
            let waited = self.said.more.wait_timeout(lines, left);
            lines = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until it has so many partitions.
    pub fn wait_for_partitions(&self, count: usize) {
        self.wait(&format!("it has {count} partitions"), |lines| {
            owned(lines).len() == count
        });
    }

    /// Waits until it has committed something beyond what it has by now.
    pub fn wait_for_commits(&self) {
        let commits = |lines: &[String]| {
            lines
                .iter()
                .filter(|line| line.starts_with("committed"))
                .count()
        };
        let before = commits(&self.said.lock());
        self.wait("it commits", |lines| commits(lines) > before + 5);
    }

    /// Stops it from running until [`GroupMember::resume`].
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it run again.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Kills it with no warning, and returns what it has said.
    #[must_use]
    pub fn kill(mut self) -> Vec<String> {
        // An error means that it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.lines()
    }

    /// Asks it to leave in good order, waits until it has, and returns what it has said.
    #[must_use]
    pub fn stop(mut self) -> Vec<String> {
        self.signal(Signal::TERM);
        self.wait("it has closed", |lines| {
            lines.last().is_some_and(|line| line == "closed")
        });
        // An error means that it has ended already.
        let _ = self.child.wait();
        self.lines()
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let sent = kill_process(pid.expect("a process has an id"), signal);
        sent.expect("the member is running");
    }
}

impl Drop for GroupMember {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Said {
    fn hear(&self, stdout: ChildStdout) {
        for line in BufReader::new(stdout).lines() {
            let Ok(line) = line else { return };
            self.lock().push(line);
            self.more.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The numbers after the first word of a line.
fn numbers(line: &str) -> impl Iterator<Item = i32> {
    line.split(' ')
        .skip(1)
        .filter_map(|number| number.parse().ok())
}

fn owned(lines: &[String]) -> BTreeSet<i32> {
    let mut owned = BTreeSet::new();
    for line in lines {
        if line.starts_with("assigned") {
            owned.extend(numbers(line));
        } else if line.starts_with("revoked") || line.starts_with("lost") {
            for partition in numbers(line) {
                owned.remove(&partition);
            }
        }
    }
    owned
}
