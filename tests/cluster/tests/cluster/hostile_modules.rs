//! SmartModules that are none, lie, trap or loop, sent by `thalweg consume` as a user would: each
//! ends with status 6 and words that name the module, and the SPU goes on as the same process.

use std::process::Output;

use thalweg_client::{ProducerOptions, ProducerRecord};
use thalweg_tests_cluster::LocalCluster;

/// The exit status of a SmartModule that was refused or failed; see docs/guide/cli.md.
const SMARTMODULE_FAILED: i32 = 6;

const MEMORY: &str = r#"(memory (export "memory") 8)"#;
const ABI_V1: &str = r#"(func (export "thalweg_abi_v1"))"#;
const ALLOC: &str = r#"(func (export "thalweg_alloc") (param i32) (result i32) i32.const 65536)"#;

/// A function of a kind that runs `code`, which leaves its answer's address.
fn kind(kind: &str, code: &str) -> String {
    format!(r#"(func (export "thalweg_{kind}") (param i32 i32) (result i32) {code})"#)
}

fn wasm(parts: &[&str]) -> Vec<u8> {
    wat::parse_str(format!("(module {})", parts.concat())).unwrap()
}

/// Modules that are refused before they run, each with what the user is told.
fn refused() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let (filter, map) = (kind("filter", "i32.const 0"), kind("map", "i32.const 0"));
    let abi_v2 = r#"(func (export "thalweg_abi_v2"))"#;
    vec![
        (
            "not-wasm",
            b"no wasm\n".to_vec(),
            "not a WebAssembly module",
        ),
        ("empty", Vec::new(), "not a WebAssembly module"),
        (
            "no-kind",
            wasm(&[MEMORY, ABI_V1, ALLOC]),
            "no SmartModule kind exported",
        ),
        (
            "two-kinds",
            wasm(&[MEMORY, ABI_V1, ALLOC, &filter, &map]),
            "2 kinds (filter, map)",
        ),
        (
            "no-abi",
            wasm(&[MEMORY, ALLOC, &filter]),
            "exports no `thalweg_abi_v1`",
        ),
        (
            "wrong-abi",
            wasm(&[MEMORY, abi_v2, ALLOC, &filter]),
            "built for `thalweg_abi_v2`",
        ),
        (
            "foreign-import",
            wasm(&[
                r#"(import "env" "open" (func))"#,
                MEMORY,
                ABI_V1,
                ALLOC,
                &filter,
            ]),
            "open",
        ),
    ]
}

/// Modules that fail once they run, each with what the user is told.
fn failing() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let module = |code| wasm(&[MEMORY, ABI_V1, ALLOC, &kind("filter", code)]);
    vec![
        ("traps", module("unreachable"), "unreachable"),
        ("loops", module("(loop br 0) unreachable"), "ms"),
        (
            "recurses",
            wasm(&[
                MEMORY,
                ABI_V1,
                ALLOC,
                r#"(func $again (export "thalweg_filter") (param i32 i32) (result i32)
                (call $again (local.get 0) (local.get 1)))"#,
            ]),
            "stack",
        ),
        ("lies", module("i32.const -1"), "answer"),
        // An answer of zeros: no record was dealt with, and none failed.
        ("says-nothing", module("i32.const 0"), "answer"),
    ]
}

fn consume_through(cluster: &LocalCluster, name: &str, wasm: &[u8]) -> Output {
    let path = cluster.path(&format!("{name}.wasm"));
    std::fs::write(&path, wasm).unwrap();
    let path = path.to_string_lossy();
    cluster.thalweg(&["consume", "t", "-B", "-d", "--smartmodule-path", &path])
}

async fn cluster_with_a_record() -> LocalCluster {
    let cluster = LocalCluster::start_with(1, &["--smartmodule-deadline=300ms"]).await;
    let topic = cluster.create_topic("t", 1, &[]).await;
    let client = cluster.client().await;
    let producer = client
        .producer(&topic, ProducerOptions::default())
        .await
        .unwrap();
    let sent = producer.send(ProducerRecord::new(&b"a record"[..])).await;
    sent.unwrap().await.unwrap();
    cluster
}

/// Sends each module, and checks what the user is told and that plain consuming still works.
fn each_is_told_and_harms_nobody(cluster: &LocalCluster, modules: Vec<(&str, Vec<u8>, &str)>) {
    let pid = cluster.spu(0).pid();
    for (name, wasm, words) in modules {
        let output = consume_through(cluster, name, &wasm);

        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            output.status.code(),
            Some(SMARTMODULE_FAILED),
            "{name}: {errors}"
        );
        assert!(errors.contains(&format!("`{name}`")), "{name}: {errors}");
        assert!(errors.contains(words), "{name}: {errors}");
        assert_eq!(output.stdout, b"", "{name}");
        let plain = cluster.thalweg(&["consume", "t", "-B", "-d"]);
        assert_eq!(plain.stdout, b"a record\n", "after {name}");
    }
    // The same process, so nothing crashed in between.
    assert!(std::path::Path::new(&format!("/proc/{pid}/stat")).exists());
    let log = cluster.spu(0).log_text();
    assert!(!log.contains("panicked"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_can_not_run_is_refused_with_words_and_status_6() {
    let cluster = cluster_with_a_record().await;

    each_is_told_and_harms_nobody(&cluster, refused());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_fails_as_it_runs_ends_the_consumer_alone() {
    let cluster = cluster_with_a_record().await;

    each_is_told_and_harms_nobody(&cluster, failing());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_file_that_is_not_there_is_named() {
    let cluster = cluster_with_a_record().await;

    let output = cluster.thalweg(&["consume", "t", "--smartmodule-path", "/no/such.wasm"]);

    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(SMARTMODULE_FAILED), "{errors}");
    assert!(errors.contains("/no/such.wasm"), "{errors}");
}
