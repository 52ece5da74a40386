//! An SPU with topics, and the requests that most tests make.

use std::net::SocketAddr;
use std::sync::Arc;

use clap::Parser;
use tempfile::TempDir;
use thalweg_record::{BatchBuilder, BatchOptions};
use thalweg_spu::{Spu, SpuOptions};
use thalweg_wire::messages::fetch_request::{FetchPartition, FetchTopic};
use thalweg_wire::messages::fetch_response::PartitionData;
use thalweg_wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use thalweg_wire::messages::produce_response::PartitionProduceResponse;
use thalweg_wire::messages::{FetchRequest, ProduceRequest, TopicName};
use thalweg_wire::{Bytes, StrBytes};

use crate::client::RawClient;
use crate::harness::{leader, try_start};
use crate::scripted_sc::{SPU, Script, ScriptedSc};

/// An SPU and its SC.
pub(crate) struct TestSpu {
    pub(crate) spu: Spu,
    pub(crate) script: Arc<Script>,
    pub(crate) _sc: ScriptedSc,
    pub(crate) dir: TempDir,
}

impl TestSpu {
    /// With a topic `t` of two partitions that is quick to acknowledge.
    pub(crate) async fn start() -> Self {
        let spu = Self::start_with(&[]).await;
        spu.create_topic("t", 2, &[("durability", "memory")]).await;
        spu
    }

    /// Without topics, and with more flags.
    pub(crate) async fn start_with(flags: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let script = Script::new();
        let sc = ScriptedSc::start(&script).await;
        let mut arguments = vec![
            "thalweg-spu".to_owned(),
            format!("--id={SPU}"),
            format!("--sc={}", sc.address),
            "--listen=127.0.0.1:0".to_owned(),
            format!("--data-dir={}", dir.path().display()),
            "--guest-threads=2".to_owned(),
        ];
        if !flags
            .iter()
            .any(|flag| flag.starts_with("--retention-interval"))
        {
            // The records are of 1970: they stay, however long a test takes.
            arguments.push("--retention-interval=1h".to_owned());
        }
        arguments.extend(flags.iter().map(|flag| (*flag).to_owned()));
        let spu = try_start(SpuOptions::parse_from(arguments)).await.unwrap();
        Self {
            spu,
            script,
            _sc: sc,
            dir,
        }
    }

    /// Creates a topic and waits until the SPU leads it.
    pub(crate) async fn create_topic(&self, name: &str, partitions: i32, config: &[(&str, &str)]) {
        self.script.create_topic(name, partitions, config);
        for partition in 0..partitions {
            leader(&self.spu, name, partition).await;
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.spu.data_address()
    }

    pub(crate) async fn client(&self) -> RawClient {
        RawClient::connect(self.address()).await
    }
}

pub(crate) fn topic(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

/// A batch of one record for each value, without keys.
pub(crate) fn batch(values: &[&str]) -> Bytes {
    batch_with(BatchOptions::default(), values)
}

pub(crate) fn batch_with(options: BatchOptions, values: &[&str]) -> Bytes {
    let mut builder = BatchBuilder::new(options);
    for (index, value) in values.iter().enumerate() {
        let timestamp_ms = 1_000 + i64::try_from(index).unwrap();
        builder
            .push(timestamp_ms, None, Some(value.as_bytes()), &[])
            .unwrap();
    }
    Bytes::from(builder.build().unwrap())
}

pub(crate) fn produce_request(name: &str, partition: i32, records: Bytes) -> ProduceRequest {
    ProduceRequest::default()
        .with_acks(-1)
        .with_timeout_ms(10_000)
        .with_topic_data(vec![
            TopicProduceData::default()
                .with_name(topic(name))
                .with_partition_data(vec![
                    PartitionProduceData::default()
                        .with_index(partition)
                        .with_records(Some(records)),
                ]),
        ])
}

/// Produces to partition 0 of topic `t`, and returns what became of it.
pub(crate) async fn produce(client: &mut RawClient, records: Bytes) -> PartitionProduceResponse {
    produce_to(client, produce_request("t", 0, records)).await
}

pub(crate) async fn produce_to(
    client: &mut RawClient,
    request: ProduceRequest,
) -> PartitionProduceResponse {
    let mut response = client.call(&request, 9).await;
    response.responses.remove(0).partition_responses.remove(0)
}

/// A fetch from partition 0 of topic `t`, answered at once.
pub(crate) fn fetch_request(offset: i64) -> FetchRequest {
    fetch_request_of("t", &[(0, offset)])
}

pub(crate) fn fetch_request_of(name: &str, partitions: &[(i32, i64)]) -> FetchRequest {
    let partitions = partitions.iter().map(|(partition, offset)| {
        FetchPartition::default()
            .with_partition(*partition)
            .with_fetch_offset(*offset)
            .with_partition_max_bytes(1 << 20)
    });
    FetchRequest::default()
        .with_max_bytes(1 << 20)
        .with_min_bytes(1)
        .with_topics(vec![
            FetchTopic::default()
                .with_topic(topic(name))
                .with_partitions(partitions.collect()),
        ])
}

pub(crate) async fn fetch(client: &mut RawClient, request: &FetchRequest) -> PartitionData {
    let mut response = client.call(request, 12).await;
    assert_eq!(response.error_code, 0);
    response.responses.remove(0).partitions.remove(0)
}

/// The offsets and values of fetched records.
pub(crate) fn records_of(data: &PartitionData) -> Vec<(i64, String)> {
    let bytes = data.records.clone().unwrap_or_default();
    let mut records = Vec::new();
    for batch in thalweg_record::batches(&bytes) {
        let batch = batch.unwrap();
        batch.verify_crc().unwrap();
        for record in &batch.records(1 << 24).unwrap() {
            let record = record.unwrap();
            let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
            records.push((record.offset.0, value));
        }
    }
    records
}

pub(crate) fn values_of(data: &PartitionData) -> Vec<String> {
    records_of(data)
        .into_iter()
        .map(|(_, value)| value)
        .collect()
}
