//! `completions`

use clap::CommandFactory;
use clap_complete::Shell;

use crate::arguments::Arguments;
use crate::error::CliError;
use crate::output::print_text;

/// Print the script that lets a shell complete commands and options.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  $ thalweg completions bash > ~/.local/share/bash-completion/completions/thalweg
  $ thalweg completions zsh > ~/.zfunc/_thalweg")]
pub(crate) struct CompletionsArguments {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn run(arguments: &CompletionsArguments) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(
        arguments.shell,
        &mut Arguments::command(),
        "thalweg",
        &mut script,
    );
    print_text(&String::from_utf8_lossy(&script))
}
