//! Runs what README and the guides tell a reader to type.
//!
//! A page's ```` ```sh ```` blocks are one script, run from top to bottom in a folder of its own,
//! with a home of its own and the programs that `cargo ci` has built (or those in
//! `THALWEG_BIN_DIR`). What takes minutes and is a step of `cargo ci` itself is left out: building
//! the programs, `cargo demo` and `cargo ci`. Blocks of another language are only for reading.
#![allow(clippy::unwrap_used, reason = "a test that can't set itself up fails")]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use thalweg_tests_docs::{repository, shell_script};

/// Puts the steps of `cargo ci` out of the way, and stops every cluster that the script leaves.
const PRELUDE: &str = r#"
set -euo pipefail
cargo() {
  case "$*" in
    demo*|ci*|"build --release -p thalweg-cli "*) echo "left out: cargo $*" ;;
    *) command cargo "$@" ;;
  esac
}
stop_all() {
  for file in $(find "$HOME" -name cluster.json -not -path '*/spu-*'); do
    thalweg cluster delete --yes --data-dir "$(dirname "$file")" >&2
  done
}
trap stop_all EXIT
cd "$HOME"
"#;

/// Where the built programs are.
fn programs() -> PathBuf {
    match std::env::var_os("THALWEG_BIN_DIR") {
        Some(folder) => PathBuf::from(folder),
        // A test lies in target/<profile>/deps.
        None => {
            let test = std::env::current_exe().unwrap();
            test.ancestors().nth(2).unwrap().to_owned()
        }
    }
}

/// Runs a page's commands; what they print.
fn run_commands_of(page: &str) -> String {
    let programs = programs();
    assert!(
        programs.join("thalweg").exists(),
        "{} holds no programs: build them first, as README says",
        programs.display()
    );
    let home = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(repository(), home.path().join("thalweg")).unwrap();
    let text = fs::read_to_string(repository().join(page)).unwrap();
    // Pages put what they make under /tmp; several runs at once would meet there.
    let script = shell_script(&text).replace("/tmp/", "\"$HOME\"/");
    let path = std::env::var("PATH").unwrap();
    let user_home = PathBuf::from(std::env::var_os("HOME").unwrap());
    let tool_home = |variable: &str, folder: &str| {
        std::env::var_os(variable).map_or_else(|| user_home.join(folder), PathBuf::from)
    };

    let output = Command::new("bash")
        .args(["-c", &format!("{PRELUDE}{script}")])
        .env("HOME", home.path())
        .env("RUSTUP_HOME", tool_home("RUSTUP_HOME", ".rustup"))
        .env("CARGO_HOME", tool_home("CARGO_HOME", ".cargo"))
        .env("PATH", format!("{}:{path}", programs.display()))
        .env_remove("THALWEG_CONFIG")
        .env_remove("THALWEG_CLUSTER")
        .env_remove("THALWEG_PROFILE")
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("RUSTFLAGS")
        .stdin(Stdio::null())
        .output()
        .unwrap();

    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "the commands of {page} end with {}\n{printed}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    printed
}

#[test]
fn readmes_commands_work() {
    let printed = run_commands_of("README.md");

    assert!(printed.contains("\nhello\n"), "{printed}");
}

#[test]
fn the_guide_to_the_command_line_works() {
    let printed = run_commands_of("docs/guide/cli.md");

    assert!(printed.contains("[alice] 7"), "{printed}");
    let raised = "partition `__consumer_offsets-15` is held by 0,1,2";
    assert!(printed.contains(raised), "{printed}");
}

#[test]
fn the_guide_to_smartmodules_leads_to_a_live_one() {
    let printed = run_commands_of("docs/guide/smartmodules.md");

    assert!(
        printed.contains("\nERROR no disk\nWARN slow\n"),
        "{printed}"
    );
}

#[test]
fn every_page_that_a_page_names_is_there() {
    let mut pages = vec![repository().join("README.md")];
    for entry in fs::read_dir(repository().join("docs/guide")).unwrap() {
        pages.push(entry.unwrap().path());
    }
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        for word in text.split('`') {
            if word.starts_with("docs/") && !word.contains(char::is_whitespace) {
                let named = repository().join(word);
                assert!(named.exists(), "{}: no `{word}`", page.display());
            }
        }
    }
}
