//! The question before something is lost for good.

use std::io::{self, BufRead, IsTerminal, Write};

use crate::error::CliError;

/// The option of commands that ask first.
#[derive(Debug, clap::Args)]
pub(crate) struct ConfirmArguments {
    /// Do it without asking.
    #[arg(long, short = 'y')]
    yes: bool,
}

impl ConfirmArguments {
    /// As [`Self::ask`], and goes ahead where nobody can be asked: a script that names what to
    /// delete means it.
    ///
    /// # Errors
    /// When the user says no.
    pub(crate) fn ask_at_terminal(&self, what: &str) -> Result<(), CliError> {
        if io::stdin().is_terminal() {
            self.ask(what)
        } else {
            Ok(())
        }
    }

    /// Asks whether to delete `what`.
    ///
    /// # Errors
    /// When the user says no, or can't be asked.
    pub(crate) fn ask(&self, what: &str) -> Result<(), CliError> {
        if self.yes {
            return Ok(());
        }
        if !io::stdin().is_terminal() {
            let error = anyhow::anyhow!("this would delete {what}, and nobody can be asked");
            return Err(CliError::usage(error).next_step("add --yes to do it"));
        }
        let mut stderr = io::stderr();
        write!(stderr, "Delete {what}? [y/N] ")?;
        stderr.flush()?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        if matches!(answer.trim(), "y" | "Y" | "yes") {
            return Ok(());
        }
        Err(CliError::from(anyhow::anyhow!("nothing was deleted")))
    }
}
