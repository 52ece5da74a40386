//! Transforms against real servers: deployed from a file and from YAML, looked at, changed and deleted.

use serde_json::Value;

use crate::real_cluster::Cluster;

const EMPTY_FILTER: &str = include_str!("../../templates/smartmodule/empty_filter.wat");

fn described(cluster: &Cluster, name: &str) -> Value {
    let text = cluster.ok(&["transform", "describe", name, "--output", "json"]);
    serde_json::from_str(&text).expect("it is JSON")
}

#[test]
fn transforms_are_deployed_changed_described_and_deleted() {
    let cluster = Cluster::start("1");
    let folder = cluster.thalweg.folder.path();
    let wasm = folder.join("empty_filter.wasm");
    std::fs::write(&wasm, wat::parse_str(EMPTY_FILTER).unwrap()).unwrap();
    let wasm = wasm.to_str().unwrap();
    for topic in ["a", "b", "failed"] {
        cluster.ok(&["topic", "create", topic, "-p", "2"]);
    }

    let deploy = [
        "transform",
        "deploy",
        "x",
        "--input",
        "a",
        "--output",
        "b",
        "--module",
        wasm,
        "--on-error",
        "dead_letter:failed",
        "--start",
        "end",
        "--paused",
    ];
    let deployed = cluster.ok(&deploy);
    assert_eq!(deployed, "transform `x` deployed, paused\n");
    assert_eq!(cluster.thalweg.run(&deploy).status, 4);

    let shown = described(&cluster, "x");
    assert_eq!(shown["state"], "paused");
    assert_eq!(shown["start"], "end");
    assert_eq!(shown["transforms"][0]["uses"], "empty-filter@0.1.0");
    assert_eq!(shown["transforms"][0]["onError"], "dead_letter:failed");
    assert_eq!(shown["partition_list"][1]["topic"], "a");
    assert_eq!(
        shown["partition_list"][1]["reason"],
        "the transform is paused"
    );
    let table = cluster.ok(&["transform", "describe", "x"]);
    assert!(
        table.contains("POSITION") && table.contains("empty-filter@0.1.0"),
        "{table}"
    );
    let module = cluster.ok(&["smartmodule", "describe", "empty-filter"]);
    assert!(
        module.contains("transform x (as empty-filter@0.1.0)"),
        "{module}"
    );
    for (kind, name) in [
        ("topic", "a"),
        ("topic", "failed"),
        ("smartmodule", "empty-filter"),
    ] {
        let refused = cluster.thalweg.run(&[kind, "delete", name]);
        assert_eq!(refused.status, 2, "{}", refused.stderr);
        assert!(
            refused.stderr.contains("transform `x`"),
            "{}",
            refused.stderr
        );
    }

    assert_eq!(
        cluster.ok(&["transform", "resume", "x"]),
        "transform `x` resumed\n"
    );
    assert_eq!(described(&cluster, "x")["state"], "running");
    let reset = cluster.ok(&["transform", "reset", "x", "--to", "offset:3"]);
    assert_eq!(reset, "transform `x` begins anew at offset:3\n");
    let other = described(&cluster, "x");
    assert!(other["number"].as_i64() > shown["number"].as_i64());

    cluster.ok(&["transform", "delete", "x"]);
    assert_eq!(
        cluster.thalweg.run(&["transform", "describe", "x"]).status,
        3
    );
    cluster.ok(&["topic", "delete", "a"]);
}

#[test]
fn transforms_are_what_a_file_says() {
    let cluster = Cluster::start("1");
    let folder = cluster.thalweg.folder.path();
    let wasm = folder.join("keep.wasm");
    std::fs::write(&wasm, wat::parse_str(EMPTY_FILTER).unwrap()).unwrap();
    let wasm_file = format!("--wasm-file={}", wasm.display());
    cluster.ok(&["smartmodule", "create", "keep", &wasm_file]);
    for topic in ["a", "b", "c"] {
        cluster.ok(&["topic", "create", topic]);
    }
    let document = |name: &str, input: &str, output: &str, more: &str| {
        format!(
            "apiVersion: thalweg.dev/v1alpha1\nkind: Transform\nmetadata: {{name: {name}}}\nspec:\n  \
             inputs: [{input}]\n  outputs: [{output}]\n  transforms: [{{uses: keep}}]\n{more}---\n"
        )
    };
    let file = folder.join("transforms.yaml");
    let apply = |text: String| {
        std::fs::write(&file, text).unwrap();
        cluster
            .thalweg
            .run(&["transform", "apply", "-f", file.to_str().unwrap()])
    };

    let first = apply(document("x", "a", "b", "") + &document("y", "b", "c", ""));
    assert_eq!(
        first.stdout, "transform `x` created\ntransform `y` created\n",
        "{}",
        first.stderr
    );
    let paused = document("x", "a", "b", "  paused: true\n") + &document("y", "b", "c", "");
    let second = apply(paused);
    assert_eq!(
        second.stdout, "transform `x` updated\ntransform `y` is so already\n",
        "{}",
        second.stderr
    );
    let listed = cluster.ok(&["transform", "list"]);
    assert!(
        listed.contains("x     paused   a       b        0/1"),
        "{listed}"
    );

    let round = apply(document("z", "c", "a", ""));
    assert_eq!(round.status, 2);
    let way = "c -> (transform z) -> a -> (transform x) -> b -> (transform y) -> c";
    assert!(round.stderr.contains(way), "{}", round.stderr);
    let moved = apply(document("x", "a", "c", ""));
    assert_eq!(moved.status, 2);
    let why = "the outputs of transform `x` can't be changed";
    assert!(moved.stderr.contains(why), "{}", moved.stderr);
}
