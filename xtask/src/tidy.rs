//! The shape of the sources: what a reviewer would otherwise say again and again.
//!
//! Runs as a test and as `cargo xtask tidy`. Relies on rustfmt, which puts the end of a function
//! at the indentation of its beginning.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::report::say;
use crate::workspace::root;

/// The longest file that a reader can still hold in their head, in lines.
const FILE_LINES_MAX: usize = 700;

/// The longest function, in lines.
const FUNCTION_LINES_MAX: usize = 100;

/// What is said of a file without a head comment.
const NO_HEAD: &str = "does not open with `//!`";

/// Names that say nothing about what is inside.
const BANNED_NAMES: [&str; 8] = [
    "util", "utils", "common", "helper", "helpers", "misc", "inner", "manager",
];

/// Folders without sources of ours; `ui` has programs that are meant not to compile.
const SKIPPED_FOLDERS: [&str; 4] = ["target", "node_modules", "corpus", "ui"];

/// Checks the whole work tree.
pub(crate) fn run() -> Result<()> {
    let findings = findings(&root())?;
    for finding in &findings {
        say(finding);
    }
    if !findings.is_empty() {
        bail!("{} findings", findings.len());
    }
    Ok(())
}

/// Everything wrong below `folder`.
fn findings(folder: &Path) -> Result<Vec<String>> {
    let mut files = Vec::new();
    collect_files(folder, &mut files)?;
    files.sort();
    let mut findings = Vec::new();
    for path in files {
        let shown = path
            .strip_prefix(folder)
            .unwrap_or(&path)
            .display()
            .to_string();
        let text = fs::read_to_string(&path)?;
        let found = if shown.ends_with(".rs") {
            let mut found = source_findings(&text);
            if path.ends_with("tests.rs") {
                // What it tests says what it is.
                found.retain(|finding| finding != NO_HEAD);
            }
            found.extend(name_finding(&path));
            found
        } else {
            broken_links(&path, &text)
        };
        findings.extend(
            found
                .into_iter()
                .map(|finding| format!("{shown}: {finding}")),
        );
    }
    Ok(findings)
}

/// Rust and Markdown files, without those that are generated or hidden.
fn collect_files(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if entry.file_type()?.is_dir() {
            if !name.starts_with('.') && !SKIPPED_FOLDERS.contains(&&*name) {
                collect_files(&path, files)?;
            }
        } else if name.ends_with(".rs") || name.ends_with(".md") {
            files.push(path);
        }
    }
    Ok(())
}

fn name_finding(path: &Path) -> Option<String> {
    let stem = path.file_stem()?.to_string_lossy();
    let folder = path.parent()?.file_name()?.to_string_lossy();
    BANNED_NAMES
        .iter()
        .find(|banned| stem == **banned || folder == **banned)
        .map(|banned| format!("`{banned}` says nothing about what is inside"))
}

fn source_findings(text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    let head = text
        .lines()
        .find(|line| !line.starts_with("#!") && !line.is_empty());
    if !head.is_some_and(|line| line.starts_with("//!")) {
        findings.push(NO_HEAD.to_owned());
    }
    let line_count = text.lines().count();
    if line_count > FILE_LINES_MAX {
        findings.push(format!(
            "has {line_count} lines, {FILE_LINES_MAX} are allowed"
        ));
    }
    for (name, lines) in functions(text) {
        if lines > FUNCTION_LINES_MAX {
            findings.push(format!(
                "`{name}` has {lines} lines, {FUNCTION_LINES_MAX} are allowed"
            ));
        }
    }
    findings
}

/// Every function with a body, and how many lines it has.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<_> = text.lines().collect();
    let mut functions = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else {
            continue;
        };
        let indentation = line.len() - line.trim_start().len();
        let end = format!("{}}}", &line[..indentation]);
        let one_line = line.ends_with('}') || line.ends_with(';');
        let body = lines[index..].iter().position(|later| *later == end);
        if let (false, Some(last)) = (one_line, body) {
            functions.push((name.to_owned(), last + 1));
        }
    }
    functions
}

/// The name of the function that begins in this line.
fn function_name(line: &str) -> Option<&str> {
    let (before, after) = line.split_once("fn ")?;
    let only_qualifiers = before.split_whitespace().all(|word| {
        word.starts_with("pub") || matches!(word, "const" | "async" | "unsafe" | "extern" | "\"C\"")
    });
    let end = after.find(['(', '<'])?;
    only_qualifiers.then(|| &after[..end])
}

/// Links of a page to files that are not there.
fn broken_links(path: &Path, text: &str) -> Vec<String> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let targets = text
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'));
    targets
        .map(|(target, _)| target.split('#').next().unwrap_or_default())
        .filter(|target| !target.is_empty() && !target.contains(':') && !target.contains(' '))
        .filter(|target| !folder.join(target).exists())
        .map(|target| format!("links to `{target}`, which is not there"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sources_are_tidy() {
        let findings = findings(&root()).unwrap();

        assert!(findings.is_empty(), "\n{}", findings.join("\n"));
    }

    #[test]
    fn a_functions_length_counts_from_its_name_to_its_brace() {
        let text = "impl A {\n    pub(crate) const fn one() -> u8 {\n        1\n    }\n}\nfn two() {}\nfn three(\n    a: u8,\n) {\n}\n";

        assert_eq!(
            functions(text),
            [("one".to_owned(), 3), ("three".to_owned(), 4)]
        );
    }

    #[test]
    fn a_file_says_what_it_is_before_anything_else() {
        assert!(source_findings("//! What it is.\n").is_empty());
        assert!(source_findings("#![no_main]\n//! What it is.\n").is_empty());
        assert_eq!(source_findings("use std::io;\n").len(), 1);
    }

    #[test]
    fn a_link_to_nothing_is_found() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("page.md");

        let found = broken_links(
            &page,
            "[a](src/tidy.rs) [b](gone.md#x) [c](https://x.y) [d](#e)",
        );

        assert_eq!(found, ["links to `gone.md`, which is not there"]);
    }
}
