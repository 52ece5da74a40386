//! `smartmodule new`: a complete project.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use serde::Serialize;
use thalweg_types::resource::SmartModuleKind;

use super::template::Template;
use super::vendored_sdk;
use crate::error::CliError;
use crate::exit_code::ExitCode;
use crate::output::{OutputArguments, Render};

/// Where the SDK was when this program was built.
const SDK_OF_CHECKOUT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../smartmodule-sdk");
/// The longest name of a project.
const NAME_LENGTH_MAX: usize = 64;

/// Make a project for a new SmartModule: code, a test, and a README with the next commands.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  $ thalweg smartmodule new errors-only --kind filter --params
  $ cd errors-only
  $ thalweg smartmodule build
  $ thalweg smartmodule test --text 'ERROR no disk' --text 'INFO started'")]
pub(crate) struct NewArguments {
    /// Name of the module: lower-case letters, digits and `-`.
    #[arg(value_parser = project_name)]
    name: String,

    /// What it does with records: filter, map, filter-map, array-map or aggregate.
    #[arg(long, short, value_parser = kind)]
    kind: SmartModuleKind,

    /// It takes parameters.
    #[arg(long)]
    params: bool,

    /// What it is written in: rust.
    #[arg(long, default_value = "rust", value_parser = language)]
    language: Language,

    /// The folder to make. Default: the name, here.
    #[arg(long, value_name = "DIR")]
    path: Option<PathBuf>,

    /// The folder of the SDK. Default: that of the checkout this program was built in, where it
    /// still exists; otherwise the SDK's sources go into the project, as with --vendor-sdk.
    #[arg(long, value_name = "DIR", conflicts_with = "vendor_sdk")]
    sdk: Option<PathBuf>,

    /// Put the SDK's sources into the project, so that it builds on other machines too.
    #[arg(long)]
    vendor_sdk: bool,

    #[command(flatten)]
    output: OutputArguments,
}

/// What a SmartModule is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Language {
    /// With the SDK.
    Rust,
}

#[derive(Debug, Serialize)]
struct Made {
    path: PathBuf,
    files: Vec<&'static str>,
    /// Where in the project the SDK's sources are, when they are there.
    vendored_sdk: Option<&'static str>,
    /// What to type next.
    next: Vec<String>,
}

impl Render for Made {
    fn render(&self) -> String {
        let mut text = format!("made {}: {}\n", self.path.display(), self.files.join(", "));
        if let Some(folder) = self.vendored_sdk {
            text.push_str(&format!("the SDK is in {folder}\n"));
        }
        text.push_str("next:");
        for command in &self.next {
            text.push_str("\n  ");
            text.push_str(command);
        }
        text
    }
}

pub(super) fn run(arguments: &NewArguments) -> Result<(), CliError> {
    let Language::Rust = arguments.language;
    let name = &arguments.name;
    let path = arguments.path.clone().unwrap_or_else(|| name.into());
    let sdk = if arguments.vendor_sdk {
        None
    } else {
        sdk_folder(arguments.sdk.as_deref())?
    };
    // A TOML string has JSON's escapes.
    let sdk_path = match &sdk {
        Some(folder) => serde_json::to_string(&folder.to_string_lossy())?,
        None => format!("\"{}\"", vendored_sdk::FOLDER),
    };
    let template = Template {
        name,
        kind: arguments.kind,
        with_params: arguments.params,
        sdk: &format!("{{ path = {sdk_path} }}"),
    };
    // Made here and nowhere else: what a folder already holds is never written over.
    match std::fs::create_dir(&path) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let error = anyhow!("{} exists", path.display());
            return Err(CliError::new(ExitCode::AlreadyExists, error)
                .next_step("choose another name, or another folder with --path DIR"));
        }
        Err(error) => {
            let doing = format!("failed to make the folder {}", path.display());
            return Err(CliError::from(error).context(doing));
        }
    }
    let files = template.files();
    write_all(&path, &files)?;
    if sdk.is_none() {
        write_all(&path.join(vendored_sdk::FOLDER), &vendored_sdk::files()?)?;
    }
    arguments.output.print(&Made {
        files: files.iter().map(|(file, _)| *file).collect(),
        vendored_sdk: sdk.is_none().then_some(vendored_sdk::FOLDER),
        next: vec![
            format!("cd {}", path.display()),
            "thalweg smartmodule build".to_owned(),
            format!("thalweg smartmodule test {}", template.example()),
        ],
        path,
    })
}

fn write_all(folder: &Path, files: &[(&str, String)]) -> anyhow::Result<()> {
    for (file, text) in files {
        let file = folder.join(file);
        file.parent()
            .map_or(Ok(()), std::fs::create_dir_all)
            .and_then(|()| std::fs::write(&file, text))
            .with_context(|| format!("failed to write {}", file.display()))?;
    }
    Ok(())
}

/// Where the SDK is: in the folder given, or else in the checkout; `None` without either.
fn sdk_folder(given: Option<&Path>) -> Result<Option<PathBuf>, CliError> {
    let checkout = Path::new(SDK_OF_CHECKOUT);
    let folder = match given {
        Some(given) if given.join("Cargo.toml").is_file() => given,
        Some(given) => {
            let error = anyhow!("there is no SDK in {}", given.display());
            return Err(CliError::usage(error)
                .next_step("name the folder `smartmodule-sdk` of a checkout of Thalweg"));
        }
        None if checkout.join("Cargo.toml").is_file() => checkout,
        None => return Ok(None),
    };
    Ok(Some(folder.canonicalize()?))
}

fn language(text: &str) -> Result<Language, String> {
    match text {
        "rust" => Ok(Language::Rust),
        _ => Err("there is a template for rust alone; examples/languages has modules in C, AssemblyScript and Go to begin from, and docs/formats/smartmodule-abi.md is for any other".to_owned()),
    }
}

/// Reads a kind, with `-` or `_` between its words.
fn kind(text: &str) -> Result<SmartModuleKind, String> {
    SmartModuleKind::ALL
        .into_iter()
        .find(|kind| kind.name() == text.replace('-', "_"))
        .ok_or_else(|| "write filter, map, filter-map, array-map or aggregate".to_owned())
}

/// A name that is good for a package, for a registered module and, with `_`, for a function.
fn project_name(name: &str) -> Result<String, String> {
    let rest_is_fine = name
        .chars()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    let starts_well = name.starts_with(|c: char| c.is_ascii_lowercase());
    if !rest_is_fine
        || !starts_well
        || name.ends_with('-')
        || name.contains("--")
        || name.len() > NAME_LENGTH_MAX
    {
        return Err(format!(
            "up to {NAME_LENGTH_MAX} lower-case letters, digits and `-`, beginning with a letter, for example errors-only"
        ));
    }
    if KEYWORDS.contains(&name) {
        return Err("that is a word of Rust's, for example write my-filter".to_owned());
    }
    Ok(name.to_owned())
}

/// Names that can't be a function's.
const KEYWORDS: &[&str] = &[
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate",
    "do", "dyn", "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl",
    "in", "let", "loop", "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref",
    "return", "self", "static", "struct", "super", "test", "trait", "true", "try", "type",
    "typeof", "union", "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_good_for_a_package_and_a_function() {
        for name in ["errors-only", "a1", "late"] {
            assert_eq!(project_name(name).unwrap(), name);
        }
        for name in [
            "", "Late", "a_b", "1a", "-a", "a-", "match", "a--b", "a b", "../a",
        ] {
            assert!(project_name(name).is_err(), "{name}");
        }
    }
}
