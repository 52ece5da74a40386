//! What the command's exit status means. Stable: scripts rely on it.

use std::fmt::Write;

/// The outcome of a command, as its exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExitCode {
    /// It did what was asked. Also when the reader of its output went away first.
    Ok = 0,
    /// It failed in a way that has no code of its own.
    Failure = 1,
    /// The command line, or the request that it makes, is wrong: a retry can't help.
    Usage = 2,
    /// What it names does not exist.
    NotFound = 3,
    /// What it would create exists.
    AlreadyExists = 4,
    /// The cluster, or the part of it that is needed, can't be reached or did not answer in time.
    Unavailable = 5,
    /// A SmartModule was refused, or failed on a record.
    SmartModule = 6,
}

impl ExitCode {
    const ALL: [Self; 7] = [
        Self::Ok,
        Self::Failure,
        Self::Usage,
        Self::NotFound,
        Self::AlreadyExists,
        Self::Unavailable,
        Self::SmartModule,
    ];

    const fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "done (also when the reader of the output went away)",
            Self::Failure => "failed",
            Self::Usage => "the command line or the request is wrong",
            Self::NotFound => "what it names does not exist",
            Self::AlreadyExists => "what it would create exists",
            Self::Unavailable => "the cluster can't be reached, or did not answer in time",
            Self::SmartModule => "a SmartModule was refused or failed",
        }
    }

    /// The list for `--help`.
    pub(crate) fn help() -> String {
        let mut help = "Exit status:\n".to_owned();
        for code in Self::ALL {
            writeln!(help, "  {}  {}", code as u8, code.meaning())
                .expect("writing to a string can't fail");
        }
        help
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guide_lists_every_exit_status_as_it_is() {
        let guide = include_str!("../../docs/guide/cli.md");

        for code in ExitCode::ALL {
            let row = format!("| {} | {} |", code as u8, code.meaning());
            assert!(guide.contains(&row), "docs/guide/cli.md lacks `{row}`");
        }
    }
}
