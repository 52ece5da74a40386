//! The commands against real servers, which `cargo build --release --bins` (or `cargo ci`) made
//! before.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::thalweg::{Outcome, Thalweg};

/// A cluster of the test's own, deleted with it.
pub(crate) struct Cluster {
    pub(crate) thalweg: Thalweg,
    data_dir: String,
    started: Value,
}

impl Cluster {
    pub(crate) fn start(spus: &str) -> Self {
        let folder = Path::new(env!("CARGO_BIN_EXE_thalweg"))
            .parent()
            .expect("it is in a folder");
        let is_built = std::env::var_os("THALWEG_BIN_DIR").is_some()
            || ["thalweg-sc", "thalweg-spu"]
                .iter()
                .all(|name| folder.join(name).is_file());
        assert!(
            is_built,
            "{} lacks thalweg-sc or thalweg-spu: run `cargo build --release --bins`, and the tests with --release",
            folder.display()
        );
        let thalweg = Thalweg::new();
        let data_dir = thalweg.folder.path().join("cluster").display().to_string();
        let mut cluster = Self {
            thalweg,
            data_dir,
            started: Value::Null,
        };
        cluster.started = cluster.start_again(&["--spus", spus]);
        cluster
    }

    fn start_again(&self, more: &[&str]) -> Value {
        let start = [
            "cluster",
            "start",
            "--output",
            "json",
            "--data-dir",
            &self.data_dir,
        ];
        let outcome = self.ok(&[&start, more].concat());
        serde_json::from_str(&outcome).expect("it is JSON")
    }

    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let outcome = self.thalweg.run(arguments);
        assert_eq!(outcome.status, 0, "{arguments:?}: {}", outcome.stderr);
        outcome.stdout
    }

    fn produce(&self, arguments: &[&str], input: &[u8]) -> Outcome {
        let mut child = self
            .thalweg
            .command(&[&["produce"], arguments].concat())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program was built");
        let mut stdin = child.stdin.take().expect("stdin is piped");
        // A command that refuses to start does not read.
        let _ = stdin.write_all(input);
        drop(stdin);
        child.wait_with_output().expect("it ends").into()
    }

    fn produced(&self, arguments: &[&str], input: &[u8]) {
        let outcome = self.produce(arguments, input);
        assert_eq!(outcome.status, 0, "{arguments:?}: {}", outcome.stderr);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.thalweg
            .run(&["cluster", "delete", "--yes", "--data-dir", &self.data_dir]);
    }
}

fn signal(pid: &Value, signal: Signal) {
    let pid = pid
        .as_i64()
        .and_then(|pid| i32::try_from(pid).ok())
        .and_then(Pid::from_raw);
    kill_process(pid.expect("it is a pid"), signal).expect("it runs");
}

#[test]
fn an_spu_that_ends_while_the_cluster_starts_is_started_again() {
    let cluster = Cluster::start("1");
    let spu = &cluster.started["spus"][0];
    // It runs, but the controller no longer sees it: a start finds it and waits.
    signal(&spu["pid"], Signal::STOP);
    while !cluster.ok(&["spu", "list"]).contains("offline") {}

    let starting = cluster
        .thalweg
        .command(&["cluster", "start", "--output", "json", "--data-dir"])
        .arg(&cluster.data_dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program was built");
    // It has looked at the processes before it asks the controller.
    while !has_tcp_connection(starting.id()) {}
    signal(&spu["pid"], Signal::KILL);
    let outcome: Outcome = starting.wait_with_output().expect("it ends").into();

    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    let started: Value = serde_json::from_str(&outcome.stdout).expect("it is JSON");
    assert_ne!(started["spus"][0]["pid"], spu["pid"]);
    assert_eq!(started["spus"][0]["data"], spu["data"]);
}

/// Whether a process holds a TCP connection, by proc(5).
fn has_tcp_connection(pid: u32) -> bool {
    let of_all = fs::read_to_string("/proc/net/tcp").expect("Linux has it");
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs");
    descriptors.flatten().any(|descriptor| {
        let target = fs::read_link(descriptor.path()).unwrap_or_default();
        let target = target.to_string_lossy();
        let inode = target.strip_prefix("socket:[");
        let inode = inode.and_then(|rest| rest.strip_suffix(']'));
        inode.is_some_and(|inode| {
            of_all
                .lines()
                .any(|line| line.split_whitespace().nth(9) == Some(inode))
        })
    })
}

#[test]
fn a_second_start_starts_only_what_is_down_and_where_it_was() {
    let cluster = Cluster::start("2");
    let first = &cluster.started;

    assert_eq!(&cluster.start_again(&[]), first);

    signal(&first["spus"][1]["pid"], Signal::KILL);
    let second = cluster.start_again(&[]);
    assert_eq!(second["sc"], first["sc"]);
    assert_eq!(second["spus"][0], first["spus"][0]);
    assert_eq!(second["spus"][1]["data"], first["spus"][1]["data"]);
    assert_ne!(second["spus"][1]["pid"], first["spus"][1]["pid"]);

    cluster.ok(&["cluster", "stop", "--data-dir", &cluster.data_dir]);
    let status = cluster
        .thalweg
        .run(&["cluster", "status", "--data-dir", &cluster.data_dir]);
    assert_eq!(status.status, 5, "{}", status.stderr);

    let third = cluster.start_again(&["--spus", "3"]);
    assert_eq!(third["sc"]["admin"], first["sc"]["admin"]);
    assert_eq!(third["spus"][0]["data"], first["spus"][0]["data"]);
    assert_eq!(third["spus"].as_array().map(Vec::len), Some(3));
    cluster.ok(&["cluster", "status"]);

    let fewer = cluster.thalweg.run(&["cluster", "start", "--spus", "1"]);
    assert_eq!(fewer.status, 2, "{}", fewer.stderr);

    cluster.ok(&["cluster", "delete", "--yes"]);
    assert!(!Path::new(&cluster.data_dir).exists());
    assert_eq!(cluster.thalweg.run(&["profile", "current"]).status, 3);
}

#[test]
fn clusters_run_side_by_side() {
    let (one, two) = (Cluster::start("1"), Cluster::start("1"));
    let address = |cluster: &Cluster| cluster.started["sc"]["admin"].as_str().map(str::to_owned);
    let other = address(&two).expect("it has an address");

    one.ok(&["topic", "create", "here"]);
    one.ok(&["topic", "create", "there", "--cluster", &other]);

    let names = |cluster: &Cluster| {
        let list = cluster.ok(&["topic", "list", "--output", "json"]);
        let list: Value = serde_json::from_str(&list).expect("it is JSON");
        list[0]["name"].clone()
    };
    assert_eq!((names(&one), names(&two)), ("here".into(), "there".into()));
}

#[test]
fn topics_are_created_changed_described_and_deleted() {
    let cluster = Cluster::start("1");

    cluster.ok(&[
        "topic",
        "create",
        "t",
        "-p",
        "2",
        "--config",
        "retention.ms=1d",
    ]);
    assert_eq!(cluster.thalweg.run(&["topic", "create", "t"]).status, 4);
    cluster.ok(&["topic", "create", "t", "--if-not-exists"]);
    cluster.ok(&["topic", "create", "never", "--dry-run"]);
    assert_eq!(
        cluster.thalweg.run(&["topic", "describe", "never"]).status,
        3
    );

    cluster.ok(&[
        "topic",
        "update",
        "t",
        "--unset",
        "retention.ms",
        "-p",
        "3",
        "--config",
        "durability=memory",
    ]);
    let described = cluster.ok(&["topic", "describe", "t", "--output", "yaml"]);
    assert!(described.contains("durability: memory"), "{described}");
    assert!(described.contains("partitions: 3"), "{described}");
    assert!(
        !described.contains("\n  retention.ms: '86400000'"),
        "{described}"
    );
    let table = cluster.ok(&["topic", "describe", "t"]);
    assert!(
        table.contains("durability") && table.contains("LOG END"),
        "{table}"
    );

    let shrunk = cluster.thalweg.run(&["topic", "update", "t", "-p", "1"]);
    assert_eq!(shrunk.status, 2, "{}", shrunk.stderr);

    cluster.ok(&["topic", "delete", "t"]);
    assert_eq!(cluster.thalweg.run(&["topic", "delete", "t"]).status, 3);
    let consumed = cluster.thalweg.run(&["consume", "t", "-B", "-d"]);
    assert_eq!(consumed.status, 3, "{}", consumed.stderr);
    assert!(
        consumed.stderr.contains("`t` does not exist"),
        "{}",
        consumed.stderr
    );
}

#[test]
fn what_is_produced_is_consumed_in_the_form_that_was_asked_for() {
    let cluster = Cluster::start("1");
    cluster.ok(&["topic", "create", "t"]);

    cluster.produced(
        &[
            "t",
            "--key-separator",
            ":",
            "--header",
            "a=1",
            "--header",
            "a=2",
        ],
        b"k:v\n:\n",
    );
    cluster.produced(&["t", "--compression", "zstd"], b"plain");

    let consume = |more: &[&str]| cluster.ok(&[&["consume", "t", "-d"], more].concat());
    assert_eq!(consume(&["-B"]), "v\n\nplain\n");
    assert_eq!(consume(&["-B", "-k"]), "[k] v\n[] \n[null] plain\n");
    assert_eq!(consume(&["-B", "--output", "raw"]), "vplain");
    assert_eq!(
        consume(&[
            "-B",
            "-F",
            r"{{partition}}/{{offset}}\t{{key}}={{value}} ({{headers}})"
        ]),
        "0/0\tk=v (a=1,a=2)\n0/1\t= (a=1,a=2)\n0/2\tnull=plain ()\n"
    );
    let json = consume(&["-T", "3", "--output", "json"]);
    let first: Value =
        serde_json::from_str(json.lines().next().unwrap_or_default()).expect("it is JSON");
    assert_eq!(
        (&first["key"], &first["value"], &first["offset"]),
        (&"k".into(), &"v".into(), &0.into())
    );
    assert_eq!(
        first["headers"][1],
        serde_json::json!({"key": "a", "value": "2"})
    );

    assert_eq!(consume(&["-H", "1"]), "\nplain\n");
    assert_eq!(consume(&["-T", "1"]), "plain\n");
    assert_eq!(consume(&["--start", "2"]), "plain\n");
    assert_eq!(consume(&["--start-time", "-1h"]), "v\n\nplain\n");
    assert_eq!(cluster.ok(&["consume", "t", "-B", "--end", "0"]), "v\n");
    assert_eq!(consume(&[]), "");
}

#[test]
fn bytes_that_are_not_text_come_back_as_they_were() {
    let cluster = Cluster::start("1");
    cluster.ok(&["topic", "create", "t"]);
    let bytes = b"\xff\x00\n\r\n\xfe";

    cluster.produced(&["t", "--raw", "--key", "k"], bytes);

    let raw = cluster
        .thalweg
        .command(&["consume", "t", "-B", "-d", "--output", "raw"])
        .output();
    assert_eq!(raw.expect("it was built").stdout, bytes);
    let json = cluster.ok(&["consume", "t", "-B", "-d", "--output", "json"]);
    assert!(json.contains(r#""value_base64":"/wAKDQr+""#), "{json}");
}

#[test]
fn producing_and_consuming_go_on_while_the_controller_is_down() {
    let cluster = Cluster::start("1");
    cluster.ok(&["topic", "create", "t"]);
    cluster.produced(&["t"], b"before\n");

    signal(&cluster.started["sc"]["pid"], Signal::KILL);

    cluster.produced(&["t"], b"meanwhile\n");
    assert_eq!(
        cluster.ok(&["consume", "t", "-B", "-d"]),
        "before\nmeanwhile\n"
    );
    let list = cluster.thalweg.run(&["topic", "list"]);
    assert_eq!(list.status, 5, "{}", list.stderr);

    cluster.start_again(&[]);
    cluster.ok(&["topic", "list"]);
}

#[test]
fn a_live_stream_shows_each_record_at_once_and_may_lose_its_reader() {
    let cluster = Cluster::start("1");
    cluster.ok(&["topic", "create", "t"]);
    cluster.produced(&["t"], b"one\n");
    let mut child = cluster
        .thalweg
        .command(&["consume", "t", "-B"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program was built");
    let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
    let mut line = || lines.next().expect("there is a line").expect("it is text");

    assert_eq!(line(), "one");
    cluster.produced(&["t"], b"two\n");
    assert_eq!(line(), "two");

    drop(lines);
    cluster.produced(&["t"], b"three\n");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn records_that_can_not_be_are_refused_with_their_line() {
    let cluster = Cluster::start("1");
    cluster.ok(&["topic", "create", "t", "--config", "max.message.bytes=2000"]);

    let keyless = cluster.produce(&["t", "--key-separator", ":"], b"a:b\nc\n");
    let before_it = cluster.ok(&["consume", "t", "-B", "-d"]);
    let large = cluster.produce(&["t", "--raw"], &[b'x'; 3000]);
    let nowhere = cluster.produce(&["t", "-p", "7"], b"a\n");
    let out_of_range = cluster
        .thalweg
        .run(&["consume", "t", "--start", "1000", "-d"]);
    let not_wasm = cluster.thalweg.run(&[
        "consume",
        "t",
        "-B",
        "-d",
        "--smartmodule-path",
        "/proc/self/cmdline",
    ]);

    assert_eq!(keyless.status, 1);
    assert!(keyless.stderr.contains("line 2"), "{}", keyless.stderr);
    assert!(keyless.stderr.contains("next:"), "{}", keyless.stderr);
    assert_eq!(before_it, "b\n");
    assert_eq!(large.status, 2, "{}", large.stderr);
    assert!(
        large.stderr.contains("max.message.bytes"),
        "{}",
        large.stderr
    );
    assert_eq!(nowhere.status, 3, "{}", nowhere.stderr);
    assert_eq!(out_of_range.status, 2, "{}", out_of_range.stderr);
    assert!(
        out_of_range.stderr.contains("1000"),
        "{}",
        out_of_range.stderr
    );
    assert_eq!(not_wasm.status, 6, "{}", not_wasm.stderr);
}

#[test]
fn measurements_clean_up_after_themselves() {
    let cluster = Cluster::start("1");
    let small = ["--config", "durability=memory", "--output", "json"];

    for measure in [
        &["bench", "produce", "--records", "1000"][..],
        &["bench", "consume", "--records", "1000"],
        &["bench", "latency", "--rate", "200", "--duration", "500ms"],
    ] {
        let found: Value =
            serde_json::from_str(&cluster.ok(&[measure, &small].concat())).expect("it is JSON");
        assert!(
            found["records"].as_u64() >= Some(100),
            "{measure:?}: {found}"
        );
    }

    assert_eq!(cluster.ok(&["topic", "list", "--output", "json"]), "[]\n");
}

#[test]
fn an_spu_that_hangs_is_silent_and_not_up() {
    let cluster = Cluster::start("1");
    let pid = cluster.started["spus"][0]["pid"].as_i64().expect("a pid");
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).expect("it is not 0");
    let status = ["cluster", "status", "--data-dir", &cluster.data_dir];
    assert!(cluster.ok(&status).contains("up"));

    kill_process(pid, Signal::STOP).expect("the SPU runs");
    // For half a minute and what asking takes.
    let seen = (0..1500).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        let outcome = cluster.thalweg.run(&status);
        outcome.status == 5 && outcome.stdout.contains("silent")
    });
    kill_process(pid, Signal::CONT).expect("the SPU is there");

    assert!(seen, "the controller gives the SPU up after 2 s");
}
