//! How results reach the user: a table for people, JSON or YAML for programs.
//!
//! Every result is a typed struct that serialises and knows its table. Data goes to stdout through
//! here alone; everything else a command says goes to stderr.

mod table;

use std::io::{self, Write};

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::error::{CliError, output_error};

pub(crate) use table::{Table, fields};

/// The form of a result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Table,
    /// One JSON document.
    Json,
    /// One YAML document.
    Yaml,
}

/// The option that every command with a result has.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct OutputArguments {
    /// How to show the result.
    #[arg(long, short = 'O', value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
}

/// A result that can be shown.
pub(crate) trait Render: Serialize {
    /// For people.
    fn render(&self) -> String;
}

impl OutputArguments {
    /// For a command whose `--output` is something else.
    pub(crate) const fn of(output: Format) -> Self {
        Self { output }
    }

    /// The chosen form.
    pub(crate) const fn format(self) -> Format {
        self.output
    }

    /// Shows `result` on stdout.
    ///
    /// # Errors
    /// When stdout can't be written to.
    pub(crate) fn print(self, result: &impl Render) -> Result<(), CliError> {
        let mut text = self.text(result);
        if !text.ends_with('\n') {
            text.push('\n');
        }
        print_text(&text)
    }

    fn text(self, result: &impl Render) -> String {
        match self.output {
            Format::Table => result.render(),
            Format::Json => {
                serde_json::to_string_pretty(result).expect("results have text for keys")
            }
            Format::Yaml => serde_yaml::to_string(result).expect("results have text for keys"),
        }
    }
}

/// Writes `text` to stdout as it is.
///
/// # Errors
/// When stdout can't be written to.
pub(crate) fn print_text(text: &str) -> Result<(), CliError> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(output_error)
}

/// Tells the user something that is not the result.
pub(crate) fn note(text: &str) {
    // When stderr is gone there is nobody left to tell.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Rivers(Vec<&'static str>);

    impl Render for Rivers {
        fn render(&self) -> String {
            let mut table = Table::new(["NAME", "LENGTH"]);
            for name in &self.0 {
                table.row([(*name).to_owned(), "-".to_owned()]);
            }
            table.text()
        }
    }

    #[test]
    fn one_result_has_three_forms() {
        let rivers = Rivers(vec!["Rhine", "Po"]);
        let text = |output| OutputArguments { output }.text(&rivers);

        assert_eq!(text(Format::Table), "NAME   LENGTH\nRhine  -\nPo     -");
        assert_eq!(text(Format::Json), "[\n  \"Rhine\",\n  \"Po\"\n]");
        assert_eq!(text(Format::Yaml), "- Rhine\n- Po\n");
    }
}
