//! What may be appended, what may not, and with which words it is refused.

use thalweg_record::{BatchBuilder, BatchOptions, Codec, batches};
use thalweg_types::{ProducerEpoch, ProducerId};
use thalweg_wire::messages::{MetadataRequest, ProduceRequest, TransactionalId};
use thalweg_wire::{Bytes, StrBytes, encode_request};

use crate::client::RawClient;
use crate::setup::{
    TestSpu, batch, batch_with, fetch, fetch_request, fetch_request_of, produce, produce_request,
    produce_to, records_of, values_of,
};

fn damaged(records: &Bytes, position: usize, value: u8) -> Bytes {
    let mut bytes = records.to_vec();
    bytes[position] = value;
    Bytes::from(bytes)
}

async fn code(client: &mut RawClient, records: Bytes) -> i16 {
    let refused = produce(client, records).await;
    assert_eq!(refused.base_offset, -1);
    assert!(refused.error_message.is_some(), "{refused:?}");
    refused.error_code
}

#[tokio::test]
async fn batches_come_back_as_they_were_sent() {
    let spu = TestSpu::start().await;
    let mut client = spu.client().await;

    for (index, codec) in Codec::ALL.into_iter().enumerate() {
        let options = BatchOptions {
            codec,
            ..BatchOptions::default()
        };
        let sent = batch_with(options, &["one", "two"]);

        let produced = produce(&mut client, sent.clone()).await;

        let base_offset = i64::try_from(index * 2).unwrap();
        assert_eq!(
            (produced.error_code, produced.base_offset),
            (0, base_offset)
        );
        let got = fetch(&mut client, &fetch_request(base_offset))
            .await
            .records
            .unwrap();
        // The leader sets the offset and the epoch, and nothing else.
        assert_eq!(got[16..], sent[16..], "{codec}");
        assert_eq!(got[..8], base_offset.to_be_bytes());
    }
}

#[tokio::test]
async fn every_wrong_batch_gets_its_own_error() {
    let spu = TestSpu::start().await;
    let mut client = spu.client().await;
    let good = batch(&["one", "two"]);
    let last = good.len() - 1;

    assert_eq!(
        code(&mut client, damaged(&good, last, 0xff)).await,
        2,
        "CORRUPT_MESSAGE"
    );
    assert_eq!(code(&mut client, good.slice(..last)).await, 2, "cut short");
    assert_eq!(
        code(&mut client, Bytes::from_static(b"rubbish")).await,
        2,
        "no batch"
    );
    for magic in [0, 1] {
        let old = damaged(&good, 16, magic);
        assert_eq!(
            code(&mut client, old).await,
            43,
            "UNSUPPORTED_FOR_MESSAGE_FORMAT"
        );
    }
    let twice = Bytes::from([&good[..], &good[..]].concat());
    assert_eq!(
        code(&mut client, twice).await,
        87,
        "INVALID_RECORD: two batches"
    );
    assert_eq!(
        code(&mut client, Bytes::new()).await,
        87,
        "INVALID_RECORD: none"
    );
    let mut unknown_codec = damaged(&good, 22, 7).to_vec();
    restamp(&mut unknown_codec);
    assert_eq!(
        code(&mut client, unknown_codec.into()).await,
        76,
        "UNSUPPORTED_COMPRESSION_TYPE"
    );
    let mut wrong_count = damaged(&good, 60, 3).to_vec();
    restamp(&mut wrong_count);
    assert_eq!(
        code(&mut client, wrong_count.into()).await,
        87,
        "INVALID_RECORD: count"
    );
    let control = BatchOptions {
        control: true,
        ..BatchOptions::default()
    };
    assert_eq!(
        code(&mut client, batch_with(control, &["x"])).await,
        87,
        "control"
    );
    let large = "x".repeat(2 << 20);
    assert_eq!(
        code(&mut client, batch(&[&large])).await,
        10,
        "MESSAGE_TOO_LARGE"
    );

    // Nothing of it is in the log.
    assert_eq!(produce(&mut client, good).await.base_offset, 0);
}

/// Gives a changed batch the checksum that its writer would have given it.
fn restamp(batch: &mut [u8]) {
    let crc = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
}

#[tokio::test]
async fn a_request_that_asks_for_what_there_is_not_is_refused() {
    let spu = TestSpu::start().await;
    let mut client = spu.client().await;
    let request = |name, partition| produce_request(name, partition, batch(&["one"]));

    let unknown = produce_to(&mut client, request("nowhere", 0)).await;
    assert_eq!(unknown.error_code, 3, "UNKNOWN_TOPIC_OR_PARTITION");
    let unknown = produce_to(&mut client, request("t", 9)).await;
    assert_eq!(unknown.error_code, 3, "UNKNOWN_TOPIC_OR_PARTITION");
    let misnamed = produce_to(&mut client, request("no such name", 0)).await;
    assert_eq!(misnamed.error_code, 17, "INVALID_TOPIC_EXCEPTION");
    let acks = produce_to(&mut client, request("t", 0).with_acks(7)).await;
    assert_eq!(acks.error_code, 21, "INVALID_REQUIRED_ACKS");
    let id = TransactionalId(StrBytes::from_static_str("tx"));
    let transactional = request("t", 0).with_transactional_id(Some(id));
    let transactional = produce_to(&mut client, transactional).await;
    assert_eq!(
        transactional.error_code, 53,
        "TRANSACTIONAL_ID_AUTHORIZATION_FAILED"
    );
}

#[tokio::test]
async fn another_leader_and_too_few_replicas_are_told_apart() {
    let spu = TestSpu::start().await;
    spu.create_topic("few", 1, &[("min.insync.replicas", "2")])
        .await;
    let mut client = spu.client().await;

    let few = produce_to(&mut client, produce_request("few", 0, batch(&["x"]))).await;
    assert_eq!(few.error_code, 19, "NOT_ENOUGH_REPLICAS");
    let leader_only = produce_request("few", 0, batch(&["x"])).with_acks(1);
    assert_eq!(produce_to(&mut client, leader_only).await.error_code, 0);

    spu.script.elect("t", 0, None);
    crate::harness::until("the SPU has heard that nobody leads", || {
        crate::harness::try_leader(&spu.spu, "t", 0).err()
    })
    .await;
    assert_eq!(
        code(&mut client, batch(&["x"])).await,
        6,
        "NOT_LEADER_OR_FOLLOWER"
    );
}

#[tokio::test]
async fn idempotent_sequences_are_kept() {
    let spu = TestSpu::start().await;
    let mut client = spu.client().await;
    let sequenced = |epoch: i16, base_sequence| {
        let options = BatchOptions {
            producer_id: ProducerId(4000),
            producer_epoch: ProducerEpoch(epoch),
            base_sequence,
            ..BatchOptions::default()
        };
        batch_with(options, &["one", "two"])
    };

    assert_eq!(produce(&mut client, sequenced(1, 0)).await.base_offset, 0);
    assert_eq!(produce(&mut client, sequenced(1, 2)).await.base_offset, 2);
    let again = produce(&mut client, sequenced(1, 0)).await;
    assert_eq!(
        (again.error_code, again.base_offset),
        (0, 0),
        "acknowledged as it was"
    );
    assert_eq!(
        code(&mut client, sequenced(1, 9)).await,
        45,
        "OUT_OF_ORDER_SEQUENCE_NUMBER"
    );
    assert_eq!(
        code(&mut client, sequenced(0, 4)).await,
        47,
        "INVALID_PRODUCER_EPOCH"
    );

    assert_eq!(
        records_of(&fetch(&mut client, &fetch_request(0)).await).len(),
        4
    );
}

#[tokio::test]
async fn without_acknowledgements_there_is_no_answer_and_an_error_ends_the_connection() {
    let spu = TestSpu::start().await;
    let mut client = spu.client().await;

    client
        .send(&produce_request("t", 0, batch(&["one"])).with_acks(0), 9)
        .await;
    let id = client.send(&MetadataRequest::default(), 12).await;
    // The next answer is the one to the next request.
    client.receive::<MetadataRequest>(id, 12).await;
    let waiting = fetch_request(0).with_max_wait_ms(10_000);
    assert_eq!(values_of(&fetch(&mut client, &waiting).await), ["one"]);

    client
        .send(
            &produce_request("nowhere", 0, batch(&["one"])).with_acks(0),
            9,
        )
        .await;
    client.assert_hung_up().await;
}

#[tokio::test]
async fn versions_without_record_batches_are_answered_with_an_error() {
    let spu = TestSpu::start().await;
    for version in 0..=2_i16 {
        let mut client = spu.client().await;
        // As version 3, without the transactional id that it begins with.
        let frame = encode_request(&produce_request("t", 0, batch(&["x"])), 3, 5, "").unwrap();
        let header_bytes = 4 + 2 + 2 + 4 + 2;
        let mut old = frame.to_vec();
        old.drain(header_bytes..header_bytes + 2);
        old[6..8].copy_from_slice(&version.to_be_bytes());
        let length = u32::try_from(old.len() - 4).unwrap();
        old[..4].copy_from_slice(&length.to_be_bytes());
        client.send_bytes(&old).await;

        let answer = client.frame().await.unwrap();

        // Correlation id, one topic `t`, one partition 0, error 43.
        let expected = [
            0, 0, 0, 5, 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1, 0, 0, 0, 0, 0, 43,
        ];
        assert_eq!(answer[..expected.len()], expected, "version {version}");
        let after = 8 + if version >= 2 { 8 } else { 0 } + if version >= 1 { 4 } else { 0 };
        assert_eq!(answer.len(), expected.len() + after, "version {version}");
    }
}

#[tokio::test]
async fn a_topic_with_a_codec_of_its_own_keeps_batches_in_it() {
    let spu = TestSpu::start().await;
    spu.create_topic("z", 1, &[("compression.type", "zstd")])
        .await;
    spu.create_topic("plain", 1, &[("compression.type", "uncompressed")])
        .await;
    let mut client = spu.client().await;

    for (name, kept) in [("z", Codec::Zstd), ("plain", Codec::None)] {
        for codec in Codec::ALL {
            let options = BatchOptions {
                codec,
                ..BatchOptions::default()
            };
            let sent = batch_with(options, &["one", "two"]);
            let produced = produce_to(&mut client, produce_request(name, 0, sent)).await;
            assert_eq!(produced.error_code, 0);
        }
        let got = fetch(&mut client, &fetch_request_of(name, &[(0, 0)])).await;
        assert_eq!(records_of(&got).len(), 10);
        for batch in batches(&got.records.unwrap()) {
            assert_eq!(batch.unwrap().header().codec().unwrap(), kept);
        }
    }
}

#[tokio::test]
async fn a_compacted_topic_takes_only_records_with_keys() {
    let spu = TestSpu::start().await;
    spu.create_topic("c", 1, &[("cleanup.policy", "compact")])
        .await;
    let mut client = spu.client().await;
    let mut keyed = BatchBuilder::new(BatchOptions::default());
    keyed.push(1, Some(b"key"), Some(b"value"), &[]).unwrap();
    let keyed = Bytes::from(keyed.build().unwrap());

    let keyless = produce_to(&mut client, produce_request("c", 0, batch(&["x"]))).await;
    let keyed = produce_to(&mut client, produce_request("c", 0, keyed)).await;

    assert_eq!(keyless.error_code, 87, "INVALID_RECORD");
    assert_eq!(keyed.error_code, 0);
}

#[tokio::test]
async fn one_request_may_write_to_many_partitions() {
    let spu = TestSpu::start().await;
    let mut client = spu.client().await;
    let mut request: ProduceRequest = produce_request("t", 0, batch(&["zero"]));
    let second = produce_request("t", 1, batch(&["one"]));
    let bad = produce_request("t", 7, batch(&["none"]));
    let partitions = &mut request.topic_data[0].partition_data;
    partitions.extend(second.topic_data[0].partition_data.clone());
    partitions.extend(bad.topic_data[0].partition_data.clone());

    let response = client.call(&request, 9).await;

    let codes: Vec<_> = response.responses[0]
        .partition_responses
        .iter()
        .map(|partition| (partition.index, partition.error_code))
        .collect();
    assert_eq!(codes, [(0, 0), (1, 0), (7, 3)]);
}
