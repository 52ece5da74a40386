//! A cluster under TLS that lets in only who shows a certificate, for `thalweg` and for a Kafka client.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use serde_json::json;
use thalweg_tests_certificates::{Authority, Signed};
use thalweg_tests_k8s::{Alone, Namespace};

use crate::home::Home;
use crate::stage::Stage;

const RECORDS: usize = 1000;

/// The addresses of the nodes.
fn node_addresses(namespace: &Namespace) -> Vec<String> {
    let path = "jsonpath={.items[*].status.addresses[?(@.type=='InternalIP')].address}";
    let addresses = namespace.run(&["get", "nodes", "-o", path]);
    addresses.split_whitespace().map(str::to_owned).collect()
}

/// Has the cluster's certificate in the Secret `ours`.
fn give(namespace: &Namespace, authority: &Authority, home: &Home) {
    let mut names = node_addresses(namespace);
    names.push(format!("main-sc.{}.svc", namespace.name()));
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let signed = authority.sign(&names, &home.path(""), "server");
    let text = |path| std::fs::read_to_string(path).unwrap();
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": {"name": "ours"},
        "stringData": {
            "tls.crt": text(signed.cert),
            "tls.key": text(signed.key),
            "ca.crt": authority.pem(),
        },
    });
    namespace.apply_yaml(&secret.to_string());
}

/// What `kcat` reads of all of the topic.
fn kcat(address: &str, home: &Home, user: Option<&Signed>) -> Output {
    let mut kcat = Command::new("kcat");
    kcat.args(["-b", address, "-C", "-t", "orders", "-e", "-q"])
        .args(["-X", "security.protocol=ssl", "-X"])
        .arg(format!("ssl.ca.location={}", home.path("ca.crt").display()));
    if let Some(user) = user {
        kcat.arg("-X")
            .arg(format!("ssl.certificate.location={}", user.cert.display()))
            .arg("-X")
            .arg(format!("ssl.key.location={}", user.key.display()));
    } else {
        // It would ask for ever.
        kcat.args(["-m", "5"]);
    }
    kcat.output().unwrap()
}

fn lines(output: &[u8]) -> usize {
    String::from_utf8_lossy(output).lines().count()
}

fn produce(home: &Home) {
    let mut producing = home
        .command("produce orders")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut records = producing.stdin.take().unwrap();
    for number in 0..RECORDS {
        writeln!(records, "{number}").unwrap();
    }
    drop(records);
    assert!(producing.wait().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes with real nodes: `cargo xtask k8s-real`"]
async fn a_cluster_under_tls_serves_those_who_show_a_certificate() {
    let alone = Alone::new().await;
    let home = Home::new();
    let authority = Authority::new("secure");
    let _ = authority.write(home.path("ca.crt"));
    let user = authority.sign(&["user"], &home.path(""), "user");
    let mut stage = Stage::prepare(&alone, "secure");
    give(stage.namespace(), &authority, &home);
    stage.make_cluster(json!({"tls": {"secretName": "ours", "clientAuth": "Required"}}));
    let namespace = stage.namespace();

    let add = format!(
        "profile add safe --kubernetes --namespace {} --tls-cert {} --tls-key {}",
        namespace.name(),
        user.cert.display(),
        user.key.display()
    );
    let unshown = add.split(" --tls-cert").next().unwrap();
    home.is_refused(unshown, 5);
    home.runs(&add);
    home.runs("topic create orders --replication-factor 3 --config min.insync.replicas=3");
    produce(&home);
    let spus = home.runs("spu list --output json");
    let spus: serde_json::Value = serde_json::from_str(&spus).unwrap();
    let address = spus[0]["address"].as_str().unwrap();

    assert_eq!(lines(&kcat(address, &home, Some(&user)).stdout), RECORDS);
    assert_eq!(lines(&kcat(address, &home, None).stdout), 0);

    // Who comes back copies what it has missed under TLS, too.
    namespace.run(&["delete", "pod", "main-spu-0"]);
    let settled = [
        "wait",
        "--for=condition=Ready",
        "spugroup/main",
        "--timeout=180s",
    ];
    namespace.run(&settled);
    produce(&home);
    let consumed = home.thalweg("consume orders -B -d");
    assert_eq!(lines(&consumed.stdout), 2 * RECORDS);

    stage.remove();
}
