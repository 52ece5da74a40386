//! Bytes that no client of good will sends, to the data port of a real SPU: each is refused with
//! its own error, nothing of it is kept, and the same process goes on serving others.

use bytes::Bytes;
use thalweg_client::{ProducerOptions, ProducerRecord};
use thalweg_record::{BatchBuilder, BatchHeader, BatchOptions, Codec, assemble_batch};
use thalweg_tests_cluster::{History, LocalCluster, read_back};
use thalweg_types::TopicName;
use thalweg_wire::messages::fetch_request::{FetchPartition, FetchTopic};
use thalweg_wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use thalweg_wire::messages::{FetchRequest, ProduceRequest};
use thalweg_wire::{ApiRequest, FrameReader, StrBytes, decode_response, encode_request};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

const MIB: usize = 1 << 20;

/// A connection that sends what a test says.
pub(crate) struct RawConnection {
    reader: FrameReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
}

impl RawConnection {
    pub(crate) async fn open(cluster: &LocalCluster) -> Self {
        let stream = TcpStream::connect(cluster.spu_address(0)).await.unwrap();
        let (reading, writer) = stream.into_split();
        Self {
            reader: FrameReader::new(reading, 64 * MIB),
            writer,
        }
    }

    pub(crate) async fn call<R: ApiRequest>(&mut self, request: &R, version: i16) -> R::Response {
        let frame = encode_request(request, version, 1, "test").unwrap();
        self.writer.write_all(&frame).await.unwrap();
        let answer = self.reader.next().await.unwrap().expect("the SPU answers");
        decode_response::<R>(version, answer).unwrap()
    }

    /// Sends bytes that are no request, and waits until the SPU hangs up.
    async fn send_until_hung_up(mut self, bytes: &[u8]) {
        // The SPU may hang up before it has all of them.
        let _ = self.writer.write_all(bytes).await;
        while let Ok(Some(_)) = self.reader.next().await {}
    }

    /// Produces to partition 0 of `numbers`: the error's code and text.
    async fn produce(&mut self, records: Vec<u8>) -> (i16, String) {
        let partition = PartitionProduceData::default()
            .with_index(0)
            .with_records(Some(Bytes::from(records)));
        let topic = TopicProduceData::default()
            .with_name(kafka_name())
            .with_partition_data(vec![partition]);
        let request = ProduceRequest::default()
            .with_acks(-1)
            .with_timeout_ms(10_000)
            .with_topic_data(vec![topic]);
        let mut response = self.call(&request, 9).await;
        let partition = response.responses.remove(0).partition_responses.remove(0);
        let message = partition.error_message.map(|text| text.to_string());
        (partition.error_code, message.unwrap_or_default())
    }
}

fn kafka_name() -> thalweg_wire::messages::TopicName {
    thalweg_wire::messages::TopicName(StrBytes::from_static_str("numbers"))
}

/// A batch that every broker takes.
fn good_batch() -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.push(1_000, None, Some(b"7"), &[]).unwrap();
    builder.build().unwrap()
}

/// The batch with a byte changed, and the checksum that its writer would have given it.
fn changed(position: usize, value: u8) -> Vec<u8> {
    let mut batch = good_batch();
    batch[position] = value;
    let crc = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch
}

/// A batch of a few kilobytes whose one record's value has `bytes_count` zeros.
fn bomb(bytes_count: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder
        .push(1_000, None, Some(&vec![0; bytes_count]), &[])
        .unwrap();
    let plain = builder.build().unwrap();
    let header = BatchHeader::parse(&plain).unwrap();
    assemble_batch(header, &plain[61..], Codec::Zstd).unwrap()
}

/// Sends one number by a good client, and notes what became of it.
async fn others_are_served(
    cluster: &LocalCluster,
    topic: &TopicName,
    history: &mut History,
    number: u64,
) {
    let client = cluster.client().await;
    let producer = client
        .producer(topic, ProducerOptions::default())
        .await
        .unwrap();
    history.sent(number);
    let value = number.to_string();
    let sent = producer.send(ProducerRecord::new(value.as_bytes()));
    let delivery = sent.await.unwrap().await.unwrap();
    history.acknowledged(number, delivery.partition, delivery.offset);
}

/// Waits until the SPU serves every partition, by reading them all.
async fn opened(cluster: &LocalCluster, topic: &TopicName) {
    read_back(&cluster.client().await, topic).await;
}

/// The process that served at the start still does, and never panicked.
fn assert_same_process(cluster: &LocalCluster, pid: u32) {
    assert_eq!(cluster.spu(0).pid(), pid);
    assert!(cluster.spu(0).resident_bytes().is_ok(), "the SPU has ended");
    let log = cluster.spu(0).log_text();
    assert!(!log.contains("panicked"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_batches_are_refused_one_by_one_while_others_are_served() {
    let cluster = LocalCluster::start(1).await;
    let topic = cluster.create_topic("numbers", 1, &[]).await;
    let pid = cluster.spu(0).pid();
    let mut history = History::default();
    let mut raw = RawConnection::open(&cluster).await;
    let damaged = |position: usize| {
        let mut batch = good_batch();
        batch[position] ^= 1;
        batch
    };
    let last = good_batch().len() - 1;
    let too_large = {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        builder
            .push(1_000, None, Some(&vec![b'x'; 2 * MIB]), &[])
            .unwrap();
        builder.build().unwrap()
    };
    let wrong: [(&str, Vec<u8>, i16, &str); 9] = [
        ("crc", damaged(17), 2, "checksum"),
        ("a flipped bit of the value", damaged(last), 2, "checksum"),
        (
            "shorter than it says",
            good_batch()[..last].to_vec(),
            2,
            "batch",
        ),
        (
            "a length of 2 GiB",
            [
                &good_batch()[..8],
                &[0x7f, 0xff, 0xff, 0xff],
                &good_batch()[12..],
            ]
            .concat(),
            2,
            "batch",
        ),
        ("magic 1", changed(16, 1), 43, "version 1"),
        ("count", changed(60, 9), 87, "recordCount"),
        ("codec", changed(22, 6), 76, "codec"),
        ("over the limit", too_large, 10, "max.message.bytes"),
        ("garbage", b"rubbish".to_vec(), 2, "batch"),
    ];

    opened(&cluster, &topic).await;
    for (number, (what, batch, code, words)) in (0..).zip(wrong) {
        let (found, message) = raw.produce(batch).await;
        assert_eq!(found, code, "{what}: {message}");
        assert!(message.contains(words), "{what}: {message}");
        others_are_served(&cluster, &topic, &mut history, number).await;
    }

    let client = cluster.client().await;
    history.check(&read_back(&client, &topic).await);
    assert_same_process(&cluster, pid);
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_lie_end_their_connection_alone() {
    let cluster = LocalCluster::start(1).await;
    let topic = cluster.create_topic("numbers", 1, &[]).await;
    let pid = cluster.spu(0).pid();
    let mut history = History::default();
    let frames: [(&str, &[u8]); 6] = [
        ("a frame of 2 GiB", &[0x7f, 0xff, 0xff, 0xff]),
        ("a negative length", &[0xff, 0xff, 0xff, 0xff, 1, 2, 3]),
        ("an empty frame", &[0, 0, 0, 0]),
        (
            "an unknown API",
            &[0, 0, 0, 10, 0x13, 0x88, 0, 0, 0, 0, 0, 1, 0xff, 0xff],
        ),
        (
            "metadata of 2^31 - 1 topics",
            &[
                0, 0, 0, 14, 0, 3, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff,
            ],
        ),
        (
            "another protocol",
            b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        ),
    ];

    for (number, (_, bytes)) in (0..).zip(frames) {
        let raw = RawConnection::open(&cluster).await;
        raw.send_until_hung_up(bytes).await;
        others_are_served(&cluster, &topic, &mut history, number).await;
    }

    let client = cluster.client().await;
    history.check(&read_back(&client, &topic).await);
    assert_same_process(&cluster, pid);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offset_out_of_range_is_refused_to_raw_clients_and_told_to_users() {
    let cluster = LocalCluster::start(1).await;
    let topic = cluster.create_topic("numbers", 1, &[]).await;
    others_are_served(&cluster, &topic, &mut History::default(), 0).await;
    let mut raw = RawConnection::open(&cluster).await;
    for offset in [-2, 2, i64::MAX] {
        let partition = FetchPartition::default()
            .with_partition(0)
            .with_fetch_offset(offset)
            .with_partition_max_bytes(1 << 20);
        let fetch_topic = FetchTopic::default()
            .with_topic(kafka_name())
            .with_partitions(vec![partition]);
        let request = FetchRequest::default()
            .with_max_bytes(1 << 20)
            .with_topics(vec![fetch_topic]);
        let mut response = raw.call(&request, 12).await;
        let code = response.responses.remove(0).partitions.remove(0).error_code;
        assert_eq!(code, 1, "OFFSET_OUT_OF_RANGE at {offset}");
    }

    let output = cluster.thalweg(&["consume", "numbers", "-d", "--start", "99"]);

    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "{errors}");
    assert!(
        errors.contains("99") && errors.contains("numbers-0"),
        "{errors}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decompression_bomb_is_named_and_fills_no_memory() {
    const BOMB_BYTES: usize = 200 * MIB;
    const RESIDENT_BYTES_MAX: u64 = 250 << 20;
    let cluster = LocalCluster::start(1).await;
    let topic = cluster.create_topic("numbers", 2, &[]).await;
    let pid = cluster.spu(0).pid();
    opened(&cluster, &topic).await;
    // A leader does not decompress what it appends, so this is taken: its checksum is right.
    let (code, message) = RawConnection::open(&cluster)
        .await
        .produce(bomb(BOMB_BYTES))
        .await;
    assert_eq!(code, 0, "{message}");
    let pass_all = cluster.path("all.wasm");
    std::fs::write(&pass_all, keeps_nothing()).unwrap();
    let pass_all = pass_all.to_string_lossy();

    let through_module = cluster.thalweg(&[
        "consume",
        "numbers",
        "-B",
        "-d",
        "--smartmodule-path",
        &pass_all,
    ]);
    let plain = cluster.thalweg(&["consume", "numbers", "-B", "-d"]);

    for output in [through_module, plain] {
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{errors}");
        assert!(
            errors.contains("numbers-0") && errors.contains("decompress"),
            "{errors}"
        );
    }
    let resident_bytes = cluster.spu(0).resident_bytes().unwrap();
    assert!(
        resident_bytes < RESIDENT_BYTES_MAX,
        "{resident_bytes} bytes"
    );
    assert_same_process(&cluster, pid);
    let other_partition = cluster.thalweg(&["consume", "numbers", "-B", "-d", "-p", "1"]);
    assert!(other_partition.status.success());
}

/// A filter that drops every record; with one input record, its answer's second word is 1.
fn keeps_nothing() -> Vec<u8> {
    let text = r#"(module (memory (export "memory") 8) (func (export "thalweg_abi_v1"))
        (func (export "thalweg_alloc") (param i32) (result i32) i32.const 65536)
        (data (i32.const 4) "\01\00\00\00\00\01\00\00\01")
        (func (export "thalweg_filter") (param i32 i32) (result i32) i32.const 0))"#;
    wat::parse_str(text).unwrap()
}
