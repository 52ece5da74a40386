//! An SPU as a pod of a StatefulSet: its number from the pod's index, its address and its zone from files
//! that come late, kubelet's probes, and clients inside and outside of the cluster.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use thalweg_tests_k8s::{Instance, Namespace, eventually, eventually_within};

/// kubelet looks at ConfigMaps that are mounted about once a minute.
const MOUNT_DEADLINE: Duration = Duration::from_secs(180);
const NODE_PORT: u16 = 31_092;

/// A pod's template that runs one program.
fn template(app: &str, program: &str, environment: Value) -> Value {
    let mut pod = Namespace::restricted_pod(app, "", &Instance::image(), &[(app, &[program])]);
    let mut spec = pod["spec"].take();
    spec["restartPolicy"] = json!("Always");
    spec["terminationGracePeriodSeconds"] = json!(20);
    spec["securityContext"]["fsGroup"] = json!(65532);
    spec["containers"][0]["env"] = environment;
    spec["containers"][0]["volumeMounts"] = json!([{"name": "data", "mountPath": "/data"}]);
    spec["volumes"] = json!([{"name": "data", "emptyDir": {}}]);
    json!({"metadata": {"labels": {"app": app}}, "spec": spec})
}

fn sc() -> Value {
    let environment = json!([
        {"name": "THALWEG_SC_LISTEN", "value": "0.0.0.0:9003"},
        {"name": "THALWEG_SC_DATA_DIR", "value": "/data/sc"},
    ]);
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "sc"},
        "spec": {
            "selector": {"matchLabels": {"app": "sc"}},
            "template": template("sc", "thalweg-sc", environment),
        },
    })
}

fn spu() -> Value {
    let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    let value = |name: &str, value: &str| json!({"name": name, "value": value});
    let environment = json!([
        field("POD_NAME", "metadata.name"),
        field("NODE_NAME", "spec.nodeName"),
        field("THALWEG_SPU_HOST_IP", "status.hostIP"),
        field(
            "THALWEG_SPU_ID",
            "metadata.labels['apps.kubernetes.io/pod-index']"
        ),
        value("THALWEG_SPU_ID_BASE", "100"),
        value("THALWEG_SPU_SC", "sc:9003"),
        value("THALWEG_SPU_LISTEN", "0.0.0.0:9092"),
        value("THALWEG_SPU_METRICS_LISTEN", "0.0.0.0:9094"),
        value("THALWEG_SPU_DATA_DIR", "/data/spu"),
        value(
            "THALWEG_SPU_ADVERTISE_FILE",
            "/etc/thalweg/addresses/$(POD_NAME)"
        ),
        value("THALWEG_SPU_RACK_FILE", "/etc/thalweg/racks/$(NODE_NAME)"),
    ]);
    let probe = |path: &str| json!({"httpGet": {"path": path, "port": 9094}, "periodSeconds": 1});
    let mut template = template("spu", "thalweg-spu", environment);
    let spec = &mut template["spec"];
    spec["volumes"] = json!([
        {"name": "addresses", "configMap": {"name": "addresses"}},
        {"name": "racks", "configMap": {"name": "racks"}},
    ]);
    let container = &mut spec["containers"][0];
    container["startupProbe"] = probe("/startupz");
    container["livenessProbe"] = probe("/livez");
    container["readinessProbe"] = probe("/readyz");
    container["volumeMounts"] = json!([
        {"name": "data", "mountPath": "/data"},
        {"name": "addresses", "mountPath": "/etc/thalweg/addresses"},
        {"name": "racks", "mountPath": "/etc/thalweg/racks"},
    ]);
    json!({
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "spu"},
        "spec": {
            "serviceName": "spu",
            "selector": {"matchLabels": {"app": "spu"}},
            "template": template,
            "volumeClaimTemplates": [{
                "metadata": {"name": "data"},
                "spec": {
                    "storageClassName": "local",
                    "accessModes": ["ReadWriteOnce"],
                    "resources": {"requests": {"storage": "1Gi"}},
                },
            }],
        },
    })
}

fn service(name: &str, port: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {
            "type": if port.get("nodePort").is_some() { "NodePort" } else { "ClusterIP" },
            "publishNotReadyAddresses": true,
            "selector": {"app": name},
            "ports": [port],
        },
    })
}

/// Sets a key of a ConfigMap.
fn set(namespace: &Namespace, map: &str, key: &str, value: &str) {
    let data = json!({"data": {key: value}}).to_string();
    namespace.run(&["patch", "configmap", map, "--type=merge", "-p", &data]);
}

/// Runs kcat, as a client outside of the cluster.
fn kcat(arguments: &[&str], input: &str) -> String {
    let mut child = Command::new("kcat")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "kcat {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes with real nodes: `cargo xtask k8s-real`"]
async fn an_spu_is_told_its_place_late_and_serves_clients_inside_and_outside() {
    let namespace = Namespace::new("spu-pod").await;
    for map in ["addresses", "racks"] {
        namespace.run(&["create", "configmap", map]);
    }
    let node_port = json!({"port": 9092, "nodePort": NODE_PORT});
    for object in [
        service("sc", &json!({"port": 9003})),
        service("spu", &node_port),
        sc(),
        spu(),
    ] {
        namespace.apply_yaml(&object.to_string());
    }
    let says = async |text: &str| {
        eventually_within(MOUNT_DEADLINE, text, async || {
            let log = namespace.attempt(&["logs", "spu-0"], "").ok()?;
            log.contains(text).then_some(())
        })
        .await;
    };

    // Told its zone, and then where it is reached.
    says("/etc/thalweg/racks/node-").await;
    let pod = namespace.get(&["pod", "spu-0"]).unwrap();
    let node = pod["spec"]["nodeName"].as_str().unwrap();
    let host_ip = pod["status"]["hostIP"].as_str().unwrap();
    set(&namespace, "racks", node, "zone-of-the-test");
    says("/etc/thalweg/addresses/spu-0").await;
    namespace.pod_is_ready("spu-0", "False").await;
    let waiting = namespace.get(&["pod", "spu-0"]).unwrap();
    set(&namespace, "addresses", "spu-0", &format!(":{NODE_PORT}"));
    eventually_within(MOUNT_DEADLINE, "an SPU that is ready", async || {
        let ready = namespace.condition("pod", "spu-0", "Ready")?;
        (ready == "True").then_some(())
    })
    .await;

    // It waited and was not started again.
    let status = |pod: &Value| pod["status"]["containerStatuses"][0].clone();
    assert_eq!(status(&waiting)["started"], true, "{waiting:#}");
    let ready = namespace.get(&["pod", "spu-0"]).unwrap();
    assert_eq!(status(&ready)["restartCount"], 0, "{ready:#}");

    let thalweg = |arguments: &[&str], input: &str| {
        let exec = ["exec", "-i", "spu-0", "--", "thalweg", "-c", "sc:9003"];
        namespace.run_with_input(&[&exec, arguments].concat(), input)
    };
    let spus = thalweg(&["spu", "list", "-O", "json"], "");
    let outside = format!("{host_ip}:{NODE_PORT}");
    for expected in ["100", "zone-of-the-test", &outside] {
        assert!(spus.contains(expected), "no {expected} in {spus}");
    }
    thalweg(&["topic", "create", "orders"], "");
    thalweg(&["produce", "orders"], "from inside\n");
    kcat(&["-b", &outside, "-P", "-t", "orders"], "from outside\n");
    let consume = [
        "-b",
        &outside,
        "-C",
        "-t",
        "orders",
        "-o",
        "beginning",
        "-e",
        "-q",
    ];
    assert_eq!(kcat(&consume, ""), "from inside\nfrom outside\n");
    assert_eq!(
        thalweg(&["consume", "orders", "-B", "-d"], ""),
        "from inside\nfrom outside\n"
    );

    // Another pod finds what the claim holds, at the same address.
    namespace.run(&["delete", "pod", "spu-0"]);
    eventually("another pod that is ready", async || {
        let pod = namespace.get(&["pod", "spu-0"])?;
        (pod["metadata"]["uid"] != ready["metadata"]["uid"]).then_some(())?;
        let is_ready = namespace.condition("pod", "spu-0", "Ready")? == "True";
        is_ready.then_some(())
    })
    .await;
    assert_eq!(kcat(&consume, ""), "from inside\nfrom outside\n");
}
