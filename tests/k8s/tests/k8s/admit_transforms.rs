//! What the API server takes and refuses of transforms, with what the user is told.

use serde_json::{Value, json};
use thalweg_tests_k8s::Namespace;

use super::admit_rows::{are_refused, object};

fn transform(change: impl Fn(&mut Value)) -> String {
    let mut spec = json!({
        "inputs": ["flights", "trains"],
        "outputs": ["late"],
        "transforms": [{"uses": "late@1.2.0", "with": {"minutes": "60"}, "onError": "skip"}],
    });
    change(&mut spec);
    object("Transform", "late-flights", spec)
}

/// A transform of one input that ends in this aggregate.
fn summing(aggregate: &Value) -> String {
    transform(|spec| {
        spec["inputs"] = json!(["flights"]);
        spec["transforms"] = json!([{"uses": "sum", "aggregate": aggregate}]);
    })
}

fn state_that_can_not_be_kept_is_refused(namespace: &Namespace) {
    let window = |window: &str| summing(&json!({"window": window}));
    let dedup = |bounds: Value| {
        transform(move |spec| {
            spec["inputs"] = json!(["flights"]);
            spec["dedup"] = bounds.clone();
        })
    };
    let two = json!([
        {"uses": "sum", "aggregate": {}},
        {"uses": "count", "aggregate": {"byKey": true}},
    ]);
    are_refused(
        namespace,
        vec![
            (
                transform(|spec| spec["transforms"] = json!([{"uses": "sum", "aggregate": {}}])),
                "has one input",
            ),
            (
                transform(|spec| spec["dedup"] = json!({"last": 5})),
                "has one input",
            ),
            (
                transform(|spec| {
                    spec["inputs"] = json!(["flights"]);
                    spec["transforms"] = two.clone();
                }),
                "a chain keeps one aggregate",
            ),
            (window("sliding:5m"), "`hopping:<size>:<advance>`"),
            (window("tumbling:0m"), "`hopping:<size>:<advance>`"),
            (window("tumbling:7d"), "`hopping:<size>:<advance>`"),
            (window("session:900000h"), "at most a hundred years"),
            (window("hopping:1m:2m"), "advance is at most its size"),
            (window("hopping:1001ms:1ms"), "at least a thousandth"),
            (summing(&json!({"lateness": "5s"})), "are for windows"),
            (summing(&json!({"late": "fail"})), "are for windows"),
            (
                summing(&json!({"window": "session:5m", "lateness": "soon"})),
                "lateness is a duration",
            ),
            (
                summing(&json!({"window": "session:5m", "late": "keep"})),
                "late is `drop` or `fail`",
            ),
            (dedup(json!({})), "dedup needs last or ageMs"),
            (dedup(json!({"last": 0})), "at least 1 record"),
            (dedup(json!({"last": 10_000_001})), "at most 10000000"),
            (dedup(json!({"ageMs": 0})), "at least 1 record and 1 ms"),
        ],
    );
    for window in ["tumbling:168h", "hopping:1s:1ms", "session:250ms"] {
        let aggregate = json!({"byKey": true, "window": window, "lateness": "5m", "late": "fail"});
        namespace.apply_yaml(&summing(&aggregate));
        namespace.run(&["delete", "transform", "late-flights"]);
    }
    namespace.apply_yaml(&dedup(json!({"last": 5, "ageMs": 1000})));
    namespace.apply_yaml(&dedup(json!({"last": 7})));
    let without = transform(|spec| spec["inputs"] = json!(["flights"]));
    are_refused(namespace, vec![(without, "dedup can't be given")]);
    namespace.run(&["delete", "transform", "late-flights"]);
}

/// There is the transform that [`transform`] says.
fn a_backfill_takes_the_transforms_place(namespace: &Namespace) {
    let steps = json!([{"uses": "late@2.0.0"}]);
    let beside = |outputs: Value| {
        let backfill = json!({"transforms": steps, "outputs": outputs});
        transform(move |spec| spec["backfill"] = backfill.clone())
    };
    let to = |output: &'static str, steps: &Value| {
        let steps = steps.clone();
        transform(move |spec| {
            spec["outputs"] = json!([output]);
            spec["transforms"] = steps.clone();
        })
    };
    are_refused(
        namespace,
        vec![
            (beside(json!([])), "at least 1 items"),
            (beside(json!(["a", "a"])), "outputs has a topic twice"),
            (
                beside(json!(["a", "b"])),
                "as many outputs as the transform",
            ),
            (beside(json!(["flights"])), "topics of its own"),
            (beside(json!(["late"])), "topics of its own"),
            (to("later", &steps), "outputs can't be changed"),
        ],
    );
    namespace.apply_yaml(&beside(json!(["later"])));
    are_refused(
        namespace,
        vec![
            (beside(json!(["latest"])), "a backfill can't be changed"),
            (
                to("later", &json!([{"uses": "late@1.0.0"}])),
                "outputs can't be changed",
            ),
            (to("latest", &steps), "outputs can't be changed"),
        ],
    );
    namespace.apply_yaml(&to("later", &steps));
    namespace.run(&["delete", "transform", "late-flights"]);
    namespace.apply_yaml(&transform(|_| {}));
}

fn canaries_that_can_not_be_are_refused(namespace: &Namespace) {
    let canary = |percent: i32, steps: Value| {
        let canary = json!({"percent": percent, "transforms": steps});
        transform(move |spec| spec["canary"] = canary.clone())
    };
    let late = json!([{"uses": "late"}]);
    let sum = json!({"uses": "sum", "aggregate": {}});
    are_refused(
        namespace,
        vec![
            (canary(0, late.clone()), "greater than or equal to 1"),
            (canary(100, late.clone()), "less than or equal to 99"),
            (canary(5, json!([])), "at least 1 items"),
            (canary(5, json!([sum, sum])), "a chain keeps one aggregate"),
        ],
    );
    namespace.apply_yaml(&canary(25, late));
}

fn capabilities_that_can_not_be_are_refused(namespace: &Namespace) {
    let allowing = |capabilities: Value| {
        transform(move |spec| {
            spec["inputs"] = json!(["flights"]);
            spec["capabilities"] = capabilities.clone();
        })
    };
    let api = "https://api.example.com";
    let http = |field: &'static str, value: Value| {
        let mut http = json!({"allow": [api]});
        http[field] = value;
        allowing(json!({"http": http}))
    };
    let origin = |origin: &str| http("allow", json!([origin]));
    let beside = |field: &'static str, value: Value| {
        transform(move |spec| {
            spec["inputs"] = json!(["flights"]);
            spec["capabilities"] = json!({"http": {"allow": [api]}});
            spec[field] = value.clone();
        })
    };
    let sum = json!([{"uses": "sum", "aggregate": {}}]);
    are_refused(
        namespace,
        vec![
            (origin("api.example.com"), "allow[0]"),
            (origin("https://api.example.com/v1"), "allow[0]"),
            (origin("https://me@example.com"), "allow[0]"),
            (origin("https://127.1"), "allow[0]"),
            (origin("https://example.com:65536"), "allow[0]"),
            (origin("https://[1:2]"), "no address between its brackets"),
            (http("allow", json!([])), "at least 1 items"),
            (http("allow", json!([api, api])), "an origin twice"),
            (
                http("timeoutMs", json!(60_001)),
                "less than or equal to 60000",
            ),
            (http("concurrency", json!(0)), "greater than or equal to 1"),
            (http("retries", json!(11)), "less than or equal to 10"),
            (
                allowing(json!({"secrets": ["t"]})),
                "only requests carry secrets",
            ),
            (
                allowing(json!({"http": {"allow": [api]}, "secrets": ["t", "t"]})),
                "secrets has a name twice",
            ),
            (
                allowing(json!({"http": {"allow": [api]}, "secrets": [".."]})),
                "secrets[0]",
            ),
            (
                beside("inputs", json!(["flights", "trains"])),
                "has one input",
            ),
            (beside("dedup", json!({"last": 5})), "neither dedup nor"),
            (beside("transforms", sum), "neither dedup nor"),
        ],
    );
    for allow in [api, "http://127.0.0.1:8080", "http://[::1]:65535"] {
        namespace.apply_yaml(&origin(allow));
    }
    let everything = json!({
        "http": {"allow": [api], "timeoutMs": 1, "concurrency": 256, "retries": 0},
        "keyValue": true,
        "secrets": ["api-token"],
    });
    namespace.apply_yaml(&allowing(everything));
    are_refused(
        namespace,
        vec![
            (
                allowing(json!({"keyValue": true})),
                "http can't be taken from",
            ),
            (
                allowing(json!({"http": {"allow": [api]}})),
                "keyValue can't be taken from",
            ),
        ],
    );
    namespace.run(&["delete", "transform", "late-flights"]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes: `cargo xtask k8s`"]
async fn what_can_be_no_transform_is_refused_with_the_next_step() {
    let namespace = Namespace::new("transforms").await;
    namespace.establish_resources();
    let with =
        |field: &'static str, value: Value| transform(move |spec| spec[field] = value.clone());
    let step = |value: Value| with("transforms", json!([value]));

    are_refused(
        &namespace,
        vec![
            (with("inputs", json!([])), "spec.inputs"),
            (with("outputs", json!([])), "spec.outputs"),
            (with("transforms", json!([])), "spec.transforms"),
            (
                with("inputs", json!(vec!["t"; 65])),
                "must have at most 64 items",
            ),
            (
                with("inputs", json!(["a", "a"])),
                "inputs has a topic twice",
            ),
            (
                with("outputs", json!(["a", "a"])),
                "outputs has a topic twice",
            ),
            (
                with("outputs", json!(["flights"])),
                "an output can't be an input",
            ),
            (
                with("tables", json!(["a", "a"])),
                "tables has a topic twice",
            ),
            (
                with("tables", json!(["a", "flights"])),
                "a table can't be an input or an output",
            ),
            (
                with("tables", json!(vec!["t"; 17])),
                "must have at most 16 items",
            ),
            (with("begin", json!("end")), "unknown field \"spec.begin\""),
            (
                with("start", json!("latest")),
                "start is `beginning`, `end`",
            ),
            (
                with("partitioning", json!("random")),
                "partitioning is `key` or `preserve`",
            ),
            (with("compression", json!("rar")), "`lz4` or `zstd`"),
            (
                step(json!({"uses": "Late"})),
                "`name@1.2.0` for one version",
            ),
            (
                step(json!({"uses": "late", "onError": "retry"})),
                "`stop`, `skip` or `dead_letter:",
            ),
            (
                step(json!({"uses": "late", "lookBack": {"last": 1}})),
                "leave lookBack out",
            ),
        ],
    );
    state_that_can_not_be_kept_is_refused(&namespace);
    capabilities_that_can_not_be_are_refused(&namespace);

    namespace.apply_yaml(&transform(|_| {}));
    are_refused(
        &namespace,
        vec![
            (
                with("inputs", json!(["flights"])),
                "inputs can't be changed",
            ),
            (
                with("outputs", json!(["other"])),
                "outputs can't be changed",
            ),
        ],
    );
    a_backfill_takes_the_transforms_place(&namespace);
    namespace.apply_yaml(&with("start", json!("offset:7")));
    namespace.apply_yaml(&with("tables", json!(["airlines", "airports"])));
    canaries_that_can_not_be_are_refused(&namespace);
    namespace.apply_yaml(&with("paused", json!(true)));
    let columns = namespace.run(&["get", "transforms"]);
    assert!(
        columns.contains("INPUT     OUTPUT   STATE   READY"),
        "{columns}"
    );
}
