//! `thalweg smartmodule`: what it makes builds, passes its own test, and does on a live topic what
//! it did on this machine.

use std::path::Path;
use std::process::{Command, Output};

use thalweg_tests_cluster::LocalCluster;

/// Runs `thalweg smartmodule` as a user would who stands in `folder`.
fn smartmodule(cluster: &LocalCluster, folder: &Path, arguments: &[&str]) -> Output {
    let programs = thalweg_tests_cluster::program_path("thalweg").unwrap();
    Command::new(programs)
        .args(["--cluster", cluster.sc_address(), "smartmodule"])
        .args(arguments)
        .current_dir(folder)
        .env("THALWEG_CONFIG", cluster.path("no-profiles.toml"))
        // What they depend on is compiled once for all projects.
        .env("CARGO_TARGET_DIR", cluster.path("target"))
        .env_remove("RUSTFLAGS")
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_of_every_kind_builds_and_runs_at_once() {
    let cluster = LocalCluster::start(1).await;
    let folder = cluster.path("projects");
    std::fs::create_dir(&folder).unwrap();
    let cases = [
        ("filter", ["ERROR a", "b"], "ERROR a\n"),
        ("map", ["a", "b"], "> A\n> B\n"),
        ("filter-map", ["21", "b"], "42\n"),
        ("array-map", ["a,b", "c"], "a\nb\nc\n"),
        ("aggregate", ["40", "2"], "40\n42\n"),
    ];
    for (kind, [first, second], expected) in cases {
        for with_params in [false, true] {
            let name = format!("my-{kind}-{}", u8::from(with_params));
            let mut new = vec!["new", &name, "--kind", kind];
            new.extend(with_params.then_some("--params"));
            // One has the SDK in itself, as where there is no checkout.
            new.extend((name == "my-filter-1").then_some("--vendor-sdk"));
            stdout(&smartmodule(&cluster, &folder, &new));
            let project = folder.join(&name);

            let tested = ["test", "--text", first, "--text", second];
            let printed = stdout(&smartmodule(&cluster, &project, &tested));

            assert_eq!(printed, expected, "{name}");
        }
    }
    // One of them goes all the way: its own test, and a live topic.
    let project = folder.join("my-filter-1");
    let manifest = std::fs::read_to_string(project.join("Cargo.toml")).unwrap();
    assert!(
        manifest.contains("path = \"vendor/thalweg-smartmodule\""),
        "{manifest}"
    );
    let tests = Command::new(env!("CARGO"))
        .args(["test", "--quiet"])
        .current_dir(&project)
        .env("CARGO_TARGET_DIR", cluster.path("target"))
        .env_remove("RUSTFLAGS")
        .output()
        .unwrap();
    assert!(stdout(&tests).contains("1 passed"));
    cluster.create_topic("lines", 1, &[]).await;
    let lines = cluster.path("lines.txt");
    std::fs::write(&lines, "INFO a\nERROR b\nWARN c\nERROR d\n").unwrap();
    let lines = lines.to_string_lossy();
    stdout(&cluster.thalweg(&["produce", "lines", "--file", &lines]));
    let built = stdout(&smartmodule(&cluster, &project, &["build", "-O", "json"]));
    let built: serde_json::Value = serde_json::from_str(&built).unwrap();
    assert_eq!(built["kind"], "filter");
    let wasm = built["path"].as_str().unwrap();

    let measured = [
        "bench",
        "--duration",
        "50ms",
        "-O",
        "json",
        "--smartmodule-path",
        wasm,
    ];
    let measured = stdout(&smartmodule(&cluster, &project, &measured));
    let measured: serde_json::Value = serde_json::from_str(&measured).unwrap();
    for who in ["module", "empty"] {
        let rate = measured[who]["records_per_second"].as_f64().unwrap();
        assert!(rate > 0.0, "{measured}");
    }

    let live = cluster.thalweg(&["consume", "lines", "-B", "-d", "--smartmodule-path", wasm]);
    let from_topic = ["test", "--topic", "lines", "--smartmodule-path", wasm];
    let local = smartmodule(&cluster, &project, &from_topic);
    let from_offset = ["test", "--topic", "lines", "--start", "2", "-O", "json"];
    let last = stdout(&smartmodule(&cluster, &project, &from_offset));

    assert_eq!(stdout(&live), "ERROR b\nERROR d\n");
    assert_eq!(stdout(&local), "ERROR b\nERROR d\n");
    assert!(last.contains("\"offset\":3"), "{last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_with_a_project_says_the_next_step() {
    let cluster = LocalCluster::start(0).await;
    let folder = cluster.path("projects");
    std::fs::create_dir_all(folder.join("taken")).unwrap();
    std::fs::write(folder.join("text.wasm"), "no wasm").unwrap();
    let cases: [(&[&str], i32, &str); 7] = [
        (&["new", "taken", "--kind", "map"], 4, "choose another name"),
        (&["new", "Taken", "--kind", "map"], 2, "lower-case"),
        (&["new", "a", "--kind", "join"], 2, "filter-map"),
        (
            &["new", "a", "--kind", "map", "--sdk", "/"],
            2,
            "smartmodule-sdk",
        ),
        (
            &["new", "a", "--kind", "map", "--language", "go"],
            2,
            "examples/languages",
        ),
        (&["build"], 3, "smartmodule new"),
        (
            &["test", "--text", "x", "--smartmodule-path", "text.wasm"],
            6,
            "not a WebAssembly module",
        ),
    ];
    for (arguments, status, words) in cases {
        let output = smartmodule(&cluster, &folder, arguments);

        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            output.status.code(),
            Some(status),
            "{arguments:?}: {errors}"
        );
        assert!(errors.contains(words), "{arguments:?}: {errors}");
    }
}
