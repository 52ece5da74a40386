//! A server process that some earlier command started: is it still there, and how to end it.

use std::fs;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

/// Which process it was: its pid alone may by now belong to another program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessIdentity {
    /// Its number.
    pub(crate) pid: u32,
    /// When it started, as `<boot id>/<clock ticks since boot>`: no two processes with one pid
    /// share it.
    started: String,
}

/// A process that was running when it was looked up, held so that its pid can't be reused.
#[derive(Debug)]
pub(crate) struct RunningProcess {
    handle: OwnedFd,
}

impl ProcessIdentity {
    /// The identity of the process that has `pid` now; `None` when there is none.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let Stat {
            state,
            flags,
            started: ticks,
        } = Stat::read(&stat)?;
        // A zombie has ended and only waits for its parent to ask how.
        if state == "Z" || state == "X" || flags & EXITING != 0 || is_killed(pid) {
            return None;
        }
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        Some(Self {
            pid,
            started: format!("{}/{ticks}", boot.trim()),
        })
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&self) -> bool {
        Self::of(self.pid).as_ref() == Some(self)
    }

    /// Takes hold of the process; `None` when it has ended.
    pub(crate) fn find(&self) -> Option<RunningProcess> {
        let pid = Pid::from_raw(i32::try_from(self.pid).ok()?)?;
        // First hold whatever has the pid, then see whether that is the one that is meant: in
        // this order it can't be replaced between the look and the signal.
        let handle = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        self.is_running().then_some(RunningProcess { handle })
    }
}

impl RunningProcess {
    /// Asks it to end.
    pub(crate) fn terminate(&self) -> Result<(), Errno> {
        self.signal(Signal::TERM)
    }

    /// Ends it without asking.
    pub(crate) fn kill(&self) -> Result<(), Errno> {
        self.signal(Signal::KILL)
    }

    /// Waits until it has ended, at most `timeout`; whether it has.
    pub(crate) fn wait(&self, timeout: Duration) -> Result<bool, Errno> {
        let timeout = Timespec::try_from(timeout).map_err(|_| Errno::INVAL)?;
        let mut ended = [PollFd::new(&self.handle, PollFlags::IN)];
        Ok(poll(&mut ended, Some(&timeout))? > 0)
    }

    fn signal(&self, signal: Signal) -> Result<(), Errno> {
        match pidfd_send_signal(&self.handle, signal) {
            // It has ended in the meantime, which is what was wanted.
            Err(Errno::SRCH) | Ok(()) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// The flag of a process that is on its way out (`PF_EXITING` in Linux's `sched.h`).
const EXITING: u64 = 0x4;
/// The bit of SIGKILL among pending signals.
const KILL_BIT: u64 = 1 << 8;

/// What is read from `/proc/<pid>/stat` (`proc_pid_stat(5)`).
#[derive(Debug, PartialEq, Eq)]
struct Stat<'a> {
    /// A letter.
    state: &'a str,
    flags: u64,
    /// In clock ticks since boot.
    started: &'a str,
}

impl<'a> Stat<'a> {
    /// The name, in brackets, may itself have spaces and brackets, so fields count from the last bracket.
    fn read(stat: &'a str) -> Option<Self> {
        let (_, fields) = stat.rsplit_once(')')?;
        let mut fields = fields.split_ascii_whitespace();
        // Field 3 is the state, 9 the flags, 22 the start time.
        Some(Self {
            state: fields.next()?,
            flags: fields.nth(5)?.parse().ok()?,
            started: fields.nth(12)?,
        })
    }
}

/// Whether it was killed and has not noticed yet: it runs no more, whatever it holds for a moment still.
fn is_killed(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().any(|line| {
        let pending = line
            .strip_prefix("SigPnd:")
            .or_else(|| line.strip_prefix("ShdPnd:"));
        let signals = pending.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        signals.is_some_and(|signals| signals & KILL_BIT != 0)
    })
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn fields_are_found_behind_a_name_with_brackets() {
        let stat = "7 (a) b) (c) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 9 9";

        let expected = Stat {
            state: "S",
            flags: 4_194_560,
            started: "4711",
        };
        assert_eq!(Stat::read(stat), Some(expected));
    }

    #[test]
    fn a_process_that_was_asked_to_end_is_gone_and_not_found_again() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let identity = ProcessIdentity::of(child.id()).unwrap();

        let running = identity.find().unwrap();
        running.terminate().unwrap();

        assert!(running.wait(Duration::from_secs(10)).unwrap());
        assert!(!identity.is_running());
        assert!(identity.find().is_none());
        child.wait().unwrap();
    }

    #[test]
    fn a_process_that_was_killed_does_not_run_from_that_moment_on() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let identity = ProcessIdentity::of(child.id()).unwrap();

        identity.find().unwrap().kill().unwrap();

        assert!(!identity.is_running());
        child.wait().unwrap();
    }

    #[test]
    fn another_program_with_the_same_pid_is_not_taken_for_it() {
        let mut imposter = ProcessIdentity::of(std::process::id()).unwrap();
        imposter.started.push('0');

        assert!(!imposter.is_running());
        assert!(imposter.find().is_none());
    }
}
