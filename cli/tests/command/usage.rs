//! Wrong command lines, help, and clusters that are not there.

use std::io::Read;
use std::net::TcpListener;
use std::process::Stdio;

use crate::thalweg::Thalweg;

/// An address that nobody listens on.
fn dead_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
    listener.local_addr().expect("it is bound").to_string()
}

#[test]
fn help_lists_the_commands_and_the_exit_statuses() {
    let outcome = Thalweg::new().run(&["--help"]);

    assert_eq!(outcome.status, 0);
    for word in [
        "produce",
        "consume",
        "topic",
        "cluster",
        "Exit status",
        "6  a SmartModule",
    ] {
        assert!(outcome.stdout.contains(word), "{word}: {}", outcome.stdout);
    }
    assert!(!outcome.stdout.contains("detach"), "{}", outcome.stdout);
}

#[test]
fn version_is_one_line_or_one_document() {
    let thalweg = Thalweg::new();

    let text = thalweg.run(&["version"]);
    let json = thalweg.run(&["version", "--output", "json"]);

    assert_eq!(
        text.stdout,
        format!("thalweg {}\n", env!("CARGO_PKG_VERSION"))
    );
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn completions_are_for_the_shell_that_was_named() {
    let thalweg = Thalweg::new();

    for (shell, word) in [
        ("bash", "complete -F"),
        ("zsh", "#compdef thalweg"),
        ("fish", "complete -c thalweg"),
    ] {
        let outcome = thalweg.run(&["completions", shell]);
        assert_eq!(outcome.status, 0);
        assert!(outcome.stdout.contains(word), "{shell}");
    }
}

#[test]
fn a_wrong_command_line_ends_with_2_and_names_what_is_wrong() {
    let thalweg = Thalweg::new();
    let cases: [(&[&str], &str); 14] = [
        (
            &["topic", "create", "a b"],
            "letters, digits, `.`, `_` and `-` are allowed",
        ),
        (&["topic", "create", ".."], "reserved"),
        (
            &["topic", "create", "a", "--partitions", "0"],
            "0 is not in",
        ),
        (&["topic", "update", "a"], "--config"),
        (
            &["topic", "create", "a", "--config", "durability"],
            "KEY=VALUE",
        ),
        (&["consume", "a", "-B", "-T", "3"], "cannot be used with"),
        (&["consume", "a", "-F", "{{nonsense}}"], "{{offset}}"),
        (&["produce", "a", "--acks", "2"], "`0`, `1` or `all`"),
        (&["spu", "list", "--cluster", "nowhere"], "host:port"),
        (&["transform", "deploy", "t", "--input", "a"], "--output"),
        (
            &["transform", "deploy", "t", "--input", "a", "--output", "b"],
            "--uses NAME",
        ),
        (
            &["transform", "reset", "t", "--to", "latest"],
            "`beginning`, `end`, `offset:<number>`",
        ),
        (
            &["transform", "deploy", "t", "--partitioning", "random"],
            "`key` or `preserve`",
        ),
        (&["launch"], "unrecognized subcommand"),
    ];

    for (arguments, expected) in cases {
        let outcome = thalweg.run(arguments);
        assert_eq!(outcome.status, 2, "{arguments:?}: {}", outcome.stderr);
        assert!(
            outcome.stderr.contains(expected),
            "{arguments:?}: {}",
            outcome.stderr
        );
        assert_eq!(outcome.stdout, "", "{arguments:?}");
    }
}

#[test]
fn a_field_of_a_transform_that_does_not_exist_is_named_before_anyone_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("late.yaml");
    let text = "\
apiVersion: thalweg.dev/v1alpha1
kind: Transform
metadata: {name: late}
spec:
  inputs: [flights]
  output: [late]
";
    std::fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();

    let outcome = Thalweg::new().run(&["transform", "apply", "-f", file, "-c", &dead_address()]);

    assert_eq!(outcome.status, 2, "{}", outcome.stderr);
    for words in [file, "unknown field `output`", "`outputs`", "line 6"] {
        assert!(outcome.stderr.contains(words), "{}", outcome.stderr);
    }
}

#[test]
fn a_setting_that_does_not_exist_is_named_before_anyone_is_asked() {
    let outcome = Thalweg::new().run(&[
        "topic",
        "create",
        "a",
        "--config",
        "retention=1",
        "-c",
        &dead_address(),
    ]);

    assert_eq!(outcome.status, 2, "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains("`retention.ms`"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn without_a_cluster_the_next_step_is_told() {
    let outcome = Thalweg::new().run(&["topic", "list"]);

    assert_eq!(outcome.status, 2);
    assert!(
        outcome.stderr.contains("thalweg cluster start"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn a_controller_that_is_down_ends_with_5_and_its_address() {
    let thalweg = Thalweg::new();
    let address = dead_address();

    for arguments in [
        ["topic", "list"],
        ["transform", "list"],
        ["spu", "list"],
        ["partition", "list"],
        ["topic", "describe"],
    ] {
        let mut arguments = arguments.to_vec();
        if arguments[1] == "describe" {
            arguments.push("flights");
        }
        arguments.extend(["--cluster", &address]);
        let outcome = thalweg.run(&arguments);
        assert_eq!(outcome.status, 5, "{arguments:?}: {}", outcome.stderr);
        assert!(
            outcome.stderr.contains(&address),
            "{arguments:?}: {}",
            outcome.stderr
        );
    }
}

#[test]
fn files_that_are_not_there_are_named() {
    let thalweg = Thalweg::new();
    let address = dead_address();

    let produce = thalweg.run(&["produce", "a", "--file", "/no/such/file", "-c", &address]);
    let consume = thalweg.run(&[
        "consume",
        "a",
        "--smartmodule-path",
        "/no/such.wasm",
        "-c",
        &address,
    ]);

    assert_eq!(produce.status, 1);
    assert!(
        produce.stderr.contains("/no/such/file"),
        "{}",
        produce.stderr
    );
    assert_eq!(consume.status, 6);
    assert!(
        consume.stderr.contains("/no/such.wasm"),
        "{}",
        consume.stderr
    );
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let thalweg = Thalweg::new();
    let mut child = thalweg
        .command(&["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();

    drop(child.stdout.take());
    let mut stderr = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut stderr)
        .unwrap();

    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(stderr, "");
}

#[test]
fn an_end_before_the_start_is_refused() {
    let cluster = dead_address();

    let outcome = Thalweg::new().run(&[
        "--cluster",
        &cluster,
        "consume",
        "t",
        "--start",
        "5",
        "--end",
        "2",
    ]);

    assert_eq!(outcome.status, 2, "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains("--end 2 comes before --start 5"),
        "{}",
        outcome.stderr
    );
}
