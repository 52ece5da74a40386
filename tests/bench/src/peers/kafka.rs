//! Apache Kafka by KRaft, whose first node is the controller too.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;

use super::{Durability, JavaTools};
use crate::process::{ServerProcess, Usage, output};
use crate::stopwatch::Stopwatch;

/// Running brokers.
#[derive(Debug)]
pub(crate) struct Kafka {
    processes: Vec<ServerProcess>,
    bootstrap: String,
}

impl Kafka {
    /// Starts a broker with its data in `dir`, and waits until it answers.
    pub(crate) fn start(java: &JavaTools, dir: &Path) -> anyhow::Result<Self> {
        Self::start_brokers(java, dir, 1)
    }

    /// As `start`, with as many brokers as `count`.
    pub(crate) fn start_brokers(
        java: &JavaTools,
        dir: &Path,
        count: usize,
    ) -> anyhow::Result<Self> {
        let [controller] = free_ports()?;
        let mut processes = Vec::new();
        let mut bootstrap = String::new();
        for node in 1..=count {
            let [data] = free_ports()?;
            if node == 1 {
                bootstrap = format!("127.0.0.1:{data}");
            }
            let dir = dir.join(node.to_string());
            processes.push(start_node(java, &dir, node, data, controller)?);
        }
        let kafka = Self {
            processes,
            bootstrap,
        };
        kafka.wait_until_ready(java)?;
        Ok(kafka)
    }

    pub(crate) fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// What all brokers have used.
    pub(crate) fn usage(&self) -> anyhow::Result<Usage> {
        self.processes.iter().map(ServerProcess::usage).sum()
    }

    /// The topic setting that asks for `durability`.
    pub(crate) fn durability_setting(durability: Durability) -> &'static str {
        match durability {
            Durability::Memory => "flush.messages=9223372036854775807",
            Durability::Fsync => "flush.messages=1",
        }
    }

    fn wait_until_ready(&self, java: &JavaTools) -> anyhow::Result<()> {
        let stopwatch = Stopwatch::start();
        loop {
            let list = ["--bootstrap-server", &self.bootstrap, "--list"];
            let asked = output(
                java.command("org.apache.kafka.tools.TopicCommand")
                    .args(list),
            );
            match asked {
                Ok(_) => return Ok(()),
                Err(error) if stopwatch.elapsed().as_secs() > 60 => return Err(error),
                Err(_) => {}
            }
        }
    }
}

fn start_node(
    java: &JavaTools,
    dir: &Path,
    node: usize,
    data: u16,
    controller: u16,
) -> anyhow::Result<ServerProcess> {
    fs::create_dir_all(dir)?;
    let (roles, listeners) = if node == 1 {
        let listeners = format!("PLAINTEXT://127.0.0.1:{data},CONTROLLER://127.0.0.1:{controller}");
        ("broker,controller", listeners)
    } else {
        ("broker", format!("PLAINTEXT://127.0.0.1:{data}"))
    };
    let settings = format!(
        "process.roles={roles}\n\
         node.id={node}\n\
         controller.quorum.voters=1@127.0.0.1:{controller}\n\
         listeners={listeners}\n\
         controller.listener.names=CONTROLLER\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{data}\n\
         log.dirs={}\n\
         offsets.topic.replication.factor=1\n\
         offsets.topic.num.partitions=1\n\
         group.initial.rebalance.delay.ms=0\n\
         message.max.bytes=1048588\n",
        dir.join("logs").display()
    );
    let file = dir.join("server.properties");
    fs::write(&file, settings)?;
    output(
        java.command("kafka.tools.StorageTool")
            .args(["format", "-t", "MkU3OEVBNTcwNTJENDM2Qk", "-c"])
            .arg(&file),
    )?;
    let child = java
        .command("kafka.Kafka")
        .arg(&file)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    Ok(ServerProcess::new(child))
}

/// Ports that were free a moment ago; Kafka can't choose its own and say which.
fn free_ports<const N: usize>() -> anyhow::Result<[u16; N]> {
    let listeners: Vec<_> = (0..N)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect::<Result<_, _>>()?;
    let mut ports = [0; N];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}
