//! The program itself: how it begins, how it ends, and what a kill leaves behind.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use thalweg_proto::v1::admin_client::AdminClient;
use thalweg_proto::v1::{DescribeClusterRequest, ListTopicsRequest};
use tonic::transport::{Channel, Endpoint};

use crate::fake_spu::registration;
use crate::test_sc::create;

/// A running `thalweg-sc`, killed when dropped.
struct Program {
    child: Child,
    ready: serde_json::Value,
}

fn command(directory: &Path, listen: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_thalweg-sc"));
    command
        .args(["--listen", listen, "--log=warn", "--data-dir"])
        .arg(directory)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

impl Program {
    fn start(directory: &Path) -> Self {
        let mut child = command(directory, "127.0.0.1:0").spawn().unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.as_mut().unwrap());
        stdout.read_line(&mut line).unwrap();
        let ready = serde_json::from_str(&line).unwrap();
        Self { child, ready }
    }

    fn channel(&self) -> Channel {
        let endpoint = format!("http://{}", self.ready["admin"].as_str().unwrap());
        Endpoint::from_shared(endpoint).unwrap().connect_lazy()
    }

    fn admin(&self) -> AdminClient<Channel> {
        AdminClient::new(self.channel())
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Registers an SPU and keeps its stream open for as long as what it returns lives.
async fn register(program: &Program) -> impl Sized + use<> {
    use thalweg_proto::v1::control_client::ControlClient;
    use thalweg_proto::v1::{SpuMessage, spu_message};
    let (to_sc, messages) = tokio::sync::mpsc::channel(1);
    let register = spu_message::Message::Register(registration(0));
    let message = Some(register);
    to_sc.send(SpuMessage { message }).await.unwrap();
    let outbound = tokio_stream::wrappers::ReceiverStream::new(messages);
    let connected = ControlClient::new(program.channel())
        .connect(outbound)
        .await;
    let mut from_sc = connected.unwrap().into_inner();
    // Registered, and the snapshot that comes once that is stored.
    for _ in 0..2 {
        from_sc.message().await.unwrap().unwrap();
    }
    (to_sc, from_sc)
}

#[tokio::test]
async fn it_says_where_it_serves_and_stops_in_good_order_when_asked() {
    let directory = tempfile::tempdir().unwrap();
    let mut program = Program::start(directory.path());

    assert_eq!(program.ready["pid"], program.child.id());
    program
        .admin()
        .describe_cluster(DescribeClusterRequest {})
        .await
        .unwrap();
    program.signal(Signal::TERM);

    assert!(program.child.wait().unwrap().success());
    let mut rest = String::new();
    program
        .child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut rest)
        .unwrap();
    assert_eq!(rest, "", "one line and no more");
}

#[tokio::test]
async fn what_it_acknowledged_outlives_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let mut names = Vec::new();

    for round in 0..4 {
        let program = Program::start(directory.path());
        let _spu = register(&program).await;
        for number in 0..5 {
            let name = format!("t{round}-{number}");
            program
                .admin()
                .create_topic(create(&name, 2, 1))
                .await
                .unwrap();
            names.push(name);
        }
        // One more is under way when the kill comes: it may be there or not, whole in either case.
        let mut admin = program.admin();
        let under_way = admin.create_topic(create(&format!("u{round}"), 2, 1));
        let kill = async { program.signal(Signal::KILL) };
        let _ = tokio::join!(under_way, kill);
    }

    let program = Program::start(directory.path());
    let _spu = register(&program).await;
    let listed = program
        .admin()
        .list_topics(ListTopicsRequest {})
        .await
        .unwrap();
    let topics = listed.into_inner().topics;
    let found: Vec<_> = topics.iter().map(|topic| topic.name.clone()).collect();
    assert!(names.iter().all(|name| found.contains(name)), "{found:?}");
    for topic in &topics {
        let request = thalweg_proto::v1::GetTopicRequest {
            name: topic.name.clone(),
        };
        let topic = program
            .admin()
            .get_topic(request)
            .await
            .unwrap()
            .into_inner();
        assert_eq!(topic.partitions.len(), 2, "{topic:?}");
    }
    let described = program
        .admin()
        .describe_cluster(DescribeClusterRequest {})
        .await
        .unwrap();
    assert_eq!(described.into_inner().controller_epoch, 5);
}

#[test]
fn a_second_sc_on_one_data_directory_is_refused_with_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    let _first = Program::start(directory.path());

    let second = command(directory.path(), "127.0.0.1:0").output().unwrap();

    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8(second.stderr).unwrap();
    assert!(said.contains("is in use by another SC"), "{said}");
    assert!(
        said.contains(&directory.path().display().to_string()),
        "{said}"
    );
    assert!(second.stdout.is_empty());
}

#[test]
fn an_address_that_is_taken_is_refused_with_the_reason() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let address = taken.local_addr().unwrap().to_string();

    let refused = command(directory.path(), &address).output().unwrap();

    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(
        said.contains(&format!("failed to listen on {address}")),
        "{said}"
    );
}
