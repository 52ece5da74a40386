//! An SPU in this process with a folder of its own, and how tests append and wait.

use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::Parser;
use thalweg_record::{BatchBuilder, BatchOptions};
use thalweg_runtime::{Clock, SystemClock};
use thalweg_spu::replica::{Acks, ProduceError, Replica, ReplicaError};
use thalweg_spu::{Spu, SpuOptions, StartError, View};
use thalweg_storage::{Appended, LogFiles, StdFiles};
use thalweg_types::{Offset, PartitionId, PartitionIndex, TopicId, TopicName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::scripted_sc::SPU;

const WAIT: Duration = Duration::from_secs(20);

pub(crate) fn options(sc: &str, data_dir: &Path) -> SpuOptions {
    SpuOptions::parse_from([
        "thalweg-spu",
        &format!("--id={SPU}"),
        &format!("--sc={sc}"),
        "--listen=127.0.0.1:0",
        &format!("--data-dir={}", data_dir.display()),
        "--guest-threads=1",
    ])
}

pub(crate) async fn try_start(options: SpuOptions) -> Result<Spu, StartError> {
    start_on(options, Arc::new(StdFiles)).await
}

pub(crate) async fn start_on(
    options: SpuOptions,
    files: Arc<dyn LogFiles>,
) -> Result<Spu, StartError> {
    let starting = Spu::start_with(options, SystemClock::shared(), files);
    tokio::time::timeout(WAIT, starting)
        .await
        .expect("an SPU starts or says why not")
}

pub(crate) async fn start(sc: &str, data_dir: &Path) -> Spu {
    try_start(options(sc, data_dir)).await.unwrap()
}

pub(crate) fn name(topic: &str) -> TopicName {
    TopicName::new(topic).unwrap()
}

pub(crate) fn try_leader(
    spu: &Spu,
    topic: &str,
    partition: i32,
) -> Result<Arc<Replica>, ReplicaError> {
    let replicas = &spu.context().replicas;
    replicas.leader(&name(topic), PartitionIndex(partition), None)
}

/// The replica, once the SPU has heard of it and opened its log.
pub(crate) async fn leader(spu: &Spu, topic: &str, partition: i32) -> Arc<Replica> {
    until("the SPU leads", || try_leader(spu, topic, partition).ok()).await
}

/// Waits until the view of the cluster fits.
pub(crate) async fn view_where(spu: &Spu, condition: impl FnMut(&View) -> bool) -> Arc<View> {
    tokio::time::timeout(WAIT, spu.context().view.wait_for(condition))
        .await
        .expect("the view changes in time")
}

/// Asks again and again until there is an answer.
pub(crate) async fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    until_told(what, async || ask()).await
}

/// As [`until`], of somebody who takes time to answer.
pub(crate) async fn until_told<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    match tokio::time::timeout(WAIT, asking).await {
        Ok(answer) => answer,
        Err(_) => panic!("waited in vain until {what}"),
    }
}

/// What an SPU's port for those who watch it answers.
pub(crate) async fn get(address: SocketAddr, path: &str) -> String {
    let mut connection = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: spu\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    answer
}

/// A batch with one record for each value, of now: retention takes old ones away.
pub(crate) fn batch(values: &[&str]) -> Bytes {
    let now_ms = SystemClock::new().now_ms();
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for value in values {
        builder
            .push(now_ms, None, Some(value.as_bytes()), &[])
            .unwrap();
    }
    Bytes::from(builder.build().unwrap())
}

pub(crate) async fn append(
    replica: &Arc<Replica>,
    values: &[&str],
) -> Result<Appended, ProduceError> {
    replica.append(batch(values), None, Acks::All, WAIT).await
}

/// The committed values of a partition.
pub(crate) fn values(replica: &Replica) -> Vec<String> {
    let mut values = Vec::new();
    let mut from = replica.log().log_start();
    let until = replica.high_watermark();
    while from < until {
        let slice = replica.log().read(from, 1 << 20, until).unwrap();
        let bytes = slice.read_bytes().unwrap();
        for batch in thalweg_record::batches(&bytes) {
            for record in batch.unwrap().records(1 << 20).unwrap().iter() {
                let value = record.unwrap().value.unwrap().to_vec();
                values.push(String::from_utf8(value).unwrap());
            }
        }
        from = slice.next_offset;
    }
    values
}

pub(crate) fn offset(number: i64) -> Offset {
    Offset(number)
}

/// Writes another byte into the first segment of a topic's first partition.
pub(crate) fn damage_first_segment(data_dir: &Path, topic: TopicId, position: u64) {
    let id = PartitionId {
        topic,
        partition: PartitionIndex(0),
    };
    let partition = data_dir.join("partitions").join(id.to_string());
    let segment = partition.join("00000000000000000000.log");
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(segment)
        .unwrap();
    file.write_all_at(b"!", position).unwrap();
}
