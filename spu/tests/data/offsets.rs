//! Where a partition begins and ends, and what lies between.

use thalweg_record::{BatchBuilder, BatchOptions};
use thalweg_wire::Bytes;
use thalweg_wire::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use thalweg_wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use thalweg_wire::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use thalweg_wire::messages::{
    DeleteRecordsRequest, ListOffsetsRequest, OffsetForLeaderEpochRequest,
};

use crate::client::RawClient;
use crate::setup::{TestSpu, fetch, fetch_request, produce, topic};

/// The offset and timestamp that ListOffsets gives, or its error.
async fn list(client: &mut RawClient, timestamp: i64) -> Result<(i64, i64), i16> {
    let request = ListOffsetsRequest::default().with_topics(vec![
        ListOffsetsTopic::default()
            .with_name(topic("t"))
            .with_partitions(vec![
                ListOffsetsPartition::default().with_timestamp(timestamp),
            ]),
    ]);
    let response = client.call(&request, 7).await;
    let partition = &response.topics[0].partitions[0];
    match partition.error_code {
        0 => Ok((partition.offset, partition.timestamp)),
        code => Err(code),
    }
}

async fn produce_at(client: &mut RawClient, timestamps_ms: &[i64]) {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for timestamp_ms in timestamps_ms {
        builder.push(*timestamp_ms, None, Some(b"x"), &[]).unwrap();
    }
    let produced = produce(client, Bytes::from(builder.build().unwrap())).await;
    assert_eq!(produced.error_code, 0);
}

async fn delete_before(client: &mut RawClient, offset: i64) -> (i16, i64) {
    let request = DeleteRecordsRequest::default()
        .with_timeout_ms(1000)
        .with_topics(vec![
            DeleteRecordsTopic::default()
                .with_name(topic("t"))
                .with_partitions(vec![DeleteRecordsPartition::default().with_offset(offset)]),
        ]);
    let response = client.call(&request, 2).await;
    let partition = &response.topics[0].partitions[0];
    (partition.error_code, partition.low_watermark)
}

#[tokio::test]
async fn offsets_are_found_by_time_and_at_both_ends() {
    let spu = TestSpu::start().await;
    let mut client = spu.client().await;
    assert_eq!(list(&mut client, -1).await, Ok((0, -1)));
    assert_eq!(
        list(&mut client, -3).await,
        Ok((-1, -1)),
        "no record, no largest timestamp"
    );
    produce_at(&mut client, &[100, 300, 200]).await;
    produce_at(&mut client, &[500, 900]).await;
    produce_at(&mut client, &[900, 700]).await;

    assert_eq!(list(&mut client, -1).await, Ok((7, -1)), "latest");
    assert_eq!(list(&mut client, -2).await, Ok((0, -1)), "earliest");
    assert_eq!(
        list(&mut client, -3).await,
        Ok((4, 900)),
        "the first with the largest timestamp"
    );
    assert_eq!(list(&mut client, 0).await, Ok((0, 100)));
    assert_eq!(list(&mut client, 150).await, Ok((1, 300)));
    assert_eq!(list(&mut client, 600).await, Ok((4, 900)));
    assert_eq!(
        list(&mut client, 901).await,
        Ok((-1, -1)),
        "nothing so late"
    );
    assert_eq!(list(&mut client, -9).await, Err(35));
}

#[tokio::test]
async fn deleted_records_are_out_of_range() {
    let spu = TestSpu::start().await;
    let mut client = spu.client().await;
    produce_at(&mut client, &[1, 2, 3, 4]).await;
    produce_at(&mut client, &[5]).await;

    assert_eq!(delete_before(&mut client, 2).await, (0, 2));
    assert_eq!(list(&mut client, -2).await, Ok((2, -1)));
    assert_eq!(fetch(&mut client, &fetch_request(1)).await.error_code, 1);
    assert_eq!(fetch(&mut client, &fetch_request(2)).await.error_code, 0);
    assert_eq!(delete_before(&mut client, 1).await, (0, 2), "gone already");
    assert_eq!(
        delete_before(&mut client, 6).await.0,
        1,
        "beyond the high watermark"
    );
    assert_eq!(
        delete_before(&mut client, -1).await,
        (0, 5),
        "all that is committed"
    );
}

#[tokio::test]
async fn an_epoch_ends_where_the_next_begins() {
    let spu = TestSpu::start().await;
    let mut client = spu.client().await;
    produce_at(&mut client, &[1, 2]).await;
    let before = crate::harness::leader(&spu.spu, "t", 0)
        .await
        .leader_epoch()
        .0;
    spu.script.elect("t", 0, Some(crate::scripted_sc::SPU));
    crate::harness::until("the next reign begins", || {
        let leader = crate::harness::try_leader(&spu.spu, "t", 0).ok()?;
        (leader.leader_epoch().0 > before).then_some(())
    })
    .await;
    produce_at(&mut client, &[3]).await;
    let ask = |epoch| {
        OffsetForLeaderEpochRequest::default().with_topics(vec![
            OffsetForLeaderTopic::default()
                .with_topic(topic("t"))
                .with_partitions(vec![
                    OffsetForLeaderPartition::default()
                        .with_current_leader_epoch(-1)
                        .with_leader_epoch(epoch),
                ]),
        ])
    };

    for (epoch, end) in [(before, 2), (before + 1, 3)] {
        let response = client.call(&ask(epoch), 4).await;
        let partition = &response.topics[0].partitions[0];
        assert_eq!((partition.leader_epoch, partition.end_offset), (epoch, end));
    }
}
