//! What a consumer does when things go wrong.

use bytes::Bytes;
use futures::StreamExt;
use thalweg_client::{
    Accumulators, Checkpoint, ConsumeError, Consumer, ConsumerOptions, EndOffset, OnError,
    OnOutOfRange, SmartModuleInvocation, StartOffset,
};
use thalweg_record::{BatchBuilder, BatchOptions};
use thalweg_types::{Offset, PartitionIndex};
use thalweg_wire::{MODULE_REFUSED, STREAM_LIMIT, StreamFailure};

use crate::client;
use crate::fake_spu::{FakeSpu, Fate, topic};

/// An SPU whose log has batches of ten records, whose values are their offsets.
async fn spu_with(batch_count: i64) -> FakeSpu {
    let spu = FakeSpu::start().await;
    for batch in 0..batch_count {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        for index in 0..10 {
            let value = (batch * 10 + index).to_string();
            builder.push(0, None, Some(value.as_bytes()), &[]).unwrap();
        }
        spu.state().append(&builder.build().unwrap());
    }
    spu
}

fn from(offset: i64) -> ConsumerOptions {
    ConsumerOptions {
        start: StartOffset::Offset(Offset(offset)),
        end: EndOffset::LogEnd,
        ..ConsumerOptions::default()
    }
}

fn with_module(mut options: ConsumerOptions) -> ConsumerOptions {
    options.smartmodules = vec![SmartModuleInvocation::wasm("late", &b"wasm"[..])];
    options
}

async fn consumer(spu: &FakeSpu, options: ConsumerOptions) -> Consumer {
    client(spu).await.consumer(&topic(), options).await.unwrap()
}

async fn offsets(mut consumer: Consumer) -> Result<Vec<i64>, ConsumeError> {
    let mut offsets = Vec::new();
    while let Some(batch) = consumer.next_batch().await? {
        for record in batch.records() {
            assert_eq!(record.value, Some(record.offset.to_string().as_bytes()));
            offsets.push(record.offset.0);
        }
    }
    Ok(offsets)
}

#[tokio::test]
async fn a_consumer_begins_within_a_batch_and_ends_with_the_log() {
    let spu = spu_with(5).await;
    let consumer = consumer(&spu, from(13)).await;
    assert_eq!(
        offsets(consumer).await.unwrap(),
        (13..50).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn nothing_is_skipped_or_seen_twice_when_connections_break_and_leaders_move() {
    let spu = spu_with(20).await;
    spu.state().fetch_fates = [
        Fate::LostBefore,
        Fate::Served,
        Fate::Refused(6),
        Fate::Refused(75),
        Fate::Served,
        Fate::LostAfter,
        Fate::Served,
        Fate::Refused(5),
    ]
    .into();

    let consumer = consumer(&spu, from(0)).await;

    assert_eq!(
        offsets(consumer).await.unwrap(),
        (0..200).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn start_and_end_can_be_counted_from_the_end() {
    let spu = spu_with(3).await;
    let mut options = from(0);
    options.start = StartOffset::FromEnd(4);
    assert_eq!(
        offsets(consumer(&spu, options.clone()).await)
            .await
            .unwrap(),
        [26, 27, 28, 29]
    );

    options.start = StartOffset::FromEnd(1000);
    options.end = EndOffset::Offset(Offset(2));
    assert_eq!(
        offsets(consumer(&spu, options.clone()).await)
            .await
            .unwrap(),
        [0, 1]
    );

    options.start = StartOffset::End;
    options.end = EndOffset::LogEnd;
    assert!(
        offsets(consumer(&spu, options).await)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn records_come_one_by_one_from_the_stream() {
    let spu = spu_with(2).await;
    let records: Vec<_> = consumer(&spu, from(5)).await.collect().await;
    let offsets: Vec<_> = records
        .into_iter()
        .map(|record| record.unwrap().offset.0)
        .collect();
    assert_eq!(offsets, (5..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_start_that_is_gone_is_an_error_that_names_what_is_there_or_the_consumer_goes_on() {
    let spu = spu_with(3).await;
    spu.state().log_start = 10;

    let error = offsets(consumer(&spu, from(3)).await).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "offset 3 of partition `flights-0` is out of range: the log holds 10 up to (not including) 30"
    );

    let mut options = from(3);
    options.on_out_of_range = OnOutOfRange::Beginning;
    let read = offsets(consumer(&spu, options).await).await.unwrap();
    assert_eq!(read, (10..30).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_damaged_batch_is_reported_and_not_handed_out() {
    let spu = spu_with(2).await;
    let last = spu.state().log.len() - 5;
    spu.state().log[last] ^= 0x40;
    let mut consumer = consumer(&spu, from(0)).await;

    assert_eq!(
        consumer.next_batch().await.unwrap().unwrap().record_count(),
        10
    );
    let error = consumer.next_batch().await.unwrap_err();

    assert!(
        matches!(
            &error,
            ConsumeError::Corrupt {
                offset: Offset(10),
                ..
            }
        ),
        "{error}"
    );
    assert!(consumer.next_batch().await.unwrap().is_none());
}

#[tokio::test]
async fn a_smartmodule_that_passes_nothing_does_not_keep_the_consumer_from_its_end() {
    let spu = spu_with(10).await;
    spu.state().stream_step = 7;
    let consumer = consumer(&spu, with_module(from(0))).await;
    assert!(offsets(consumer).await.unwrap().is_empty());
}

#[tokio::test]
async fn after_a_lost_connection_the_stream_is_opened_again_with_what_the_aggregate_had() {
    let spu = spu_with(10).await;
    spu.state().stream_step = 40;
    spu.state().fetch_fates = [Fate::Served, Fate::LostBefore].into();
    let mut options = with_module(from(0));
    options.accumulator = Some(Bytes::from_static(b"initial"));

    offsets(consumer(&spu, options).await).await.unwrap();

    let state = spu.state();
    assert_eq!(state.opened, vec![Some(Bytes::from_static(b"initial")); 2]);
    let resumed =
        |offset, accumulator: Option<&'static str>| (offset, accumulator.map(Bytes::from));
    assert_eq!(
        state.resumed_with,
        [
            resumed(0, None),
            resumed(40, Some("sum to 40")),
            resumed(80, None)
        ]
    );
}

#[tokio::test]
async fn accumulators_by_key_are_merged_and_all_of_them_handed_back() {
    let spu = spu_with(10).await;
    spu.state().is_by_key = true;
    spu.state().stream_step = 40;
    // Once by a broken connection, once because the SPU asks for them.
    spu.state().fetch_fates = [
        Fate::Served,
        Fate::LostBefore,
        Fate::Served,
        Fate::Refused(20004),
    ]
    .into();
    let mut options = with_module(from(0));
    options.accumulate_by_key = true;

    offsets(consumer(&spu, options).await).await.unwrap();

    let by_key = |pairs: &[(&'static str, &'static str)]| {
        let pairs = pairs.iter().map(|(key, value)| {
            let key = Some(Bytes::from_static(key.as_bytes()));
            (key, Bytes::from_static(value.as_bytes()))
        });
        Some(pairs.collect())
    };
    let expected = [
        (0, by_key(&[])),
        (40, by_key(&[("40", "sum to 40"), ("all", "sum to 40")])),
        (
            80,
            by_key(&[
                ("40", "sum to 40"),
                ("80", "sum to 80"),
                ("all", "sum to 80"),
            ]),
        ),
    ];
    assert_eq!(spu.state().resumed_by_key, expected);
}

#[tokio::test]
async fn a_checkpoint_and_the_skipped_records_are_known_at_the_end() {
    let spu = spu_with(10).await;
    spu.state().stream_step = 50;
    let mut consumer = consumer(&spu, with_module(from(0))).await;
    let start = consumer.checkpoint(PartitionIndex(0)).unwrap();
    assert_eq!(start, &Checkpoint::at(Offset(0)));

    assert!(consumer.next_batch().await.unwrap().is_none());

    let end = consumer.checkpoint(PartitionIndex(0)).unwrap();
    assert_eq!(end.offset, Offset(100));
    let sum = Bytes::from_static(b"sum to 100");
    assert_eq!(end.accumulators, Accumulators::Partition(sum));
    let failed = consumer.failures().so_far();
    assert_eq!((failed.len(), failed[0].skipped), (1, 4));
    assert_eq!(failed[0].last_message, "before 100");
}

#[tokio::test]
async fn a_consumer_goes_on_from_a_checkpoint_with_its_accumulator() {
    let spu = spu_with(10).await;
    spu.state().stream_step = 50;
    let mut options = with_module(from(0));
    let mut checkpoint = Checkpoint::at(Offset(70));
    let sum = Bytes::from_static(b"sum to 70");
    checkpoint.accumulators = Accumulators::Partition(sum.clone());
    options.resume.insert(PartitionIndex(0), checkpoint);

    offsets(consumer(&spu, options).await).await.unwrap();

    assert_eq!(spu.state().resumed_with, [(70, Some(sum))]);
}

#[tokio::test]
async fn an_spu_that_would_ignore_a_part_of_the_stream_is_not_used() {
    let spu = spu_with(1).await;
    spu.state().is_old = true;
    spu.state().stream_step = 10;
    let mut options = with_module(from(0));
    options.smartmodules[0].on_error = OnError::Skip;

    let error = offsets(consumer(&spu, options).await).await.unwrap_err();

    assert!(error.to_string().contains("too old"), "{error}");
    assert!(spu.state().opened.is_empty());
    let plain = offsets(consumer(&spu, with_module(from(0))).await).await;
    assert!(plain.is_ok());
}

#[tokio::test]
async fn a_smartmodule_that_fails_ends_the_consumer_with_its_words() {
    let spu = spu_with(1).await;
    spu.state().stream_failure = Some(StreamFailure {
        step: "late".to_owned(),
        offset: Some(Offset(4)),
        key: None,
        message: "no such column".to_owned(),
    });
    let error = offsets(consumer(&spu, with_module(from(0))).await)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("offset 4"), "{error}");
    assert!(error.to_string().contains("no such column"), "{error}");

    spu.state().open_stream_refusal = Some("`late` is not wasm".to_owned());
    let error = offsets(consumer(&spu, with_module(from(0))).await)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("`late` is not wasm"), "{error}");
}

#[tokio::test]
async fn a_stream_is_asked_for_again_while_the_spu_has_no_time_for_it() {
    let spu = spu_with(1).await;
    spu.state().stream_step = 10;
    spu.state().busy_opens = 3;

    let read = offsets(consumer(&spu, with_module(from(0))).await).await;

    assert!(read.unwrap().is_empty());
    assert_eq!(spu.state().busy_opens, 0);
    assert_eq!(spu.state().opened.len(), 1);
}

fn failure(message: &str) -> Option<StreamFailure> {
    Some(StreamFailure {
        step: String::new(),
        offset: None,
        key: None,
        message: message.to_owned(),
    })
}

#[tokio::test]
async fn modules_that_a_fetch_finds_refused_end_the_consumer_as_when_it_opens() {
    for code in [MODULE_REFUSED, STREAM_LIMIT] {
        for (told, expected) in [
            (
                failure("no room for `late`"),
                "no room for `late`".to_owned(),
            ),
            (None, code.to_string()),
        ] {
            let spu = spu_with(1).await;
            spu.state().stream_failure = told;
            spu.state().fetch_fates = [Fate::Refused(code)].into();

            let error = offsets(consumer(&spu, with_module(from(0))).await)
                .await
                .unwrap_err();

            let is_refused = matches!(error, ConsumeError::SmartModulesRefused { .. });
            assert!(
                is_refused && error.to_string().contains(&expected),
                "{error}"
            );
        }
    }
    let spu = spu_with(1).await;
    spu.state().open_stream_refusal = Some("`late` is not wasm".to_owned());
    let error = offsets(consumer(&spu, with_module(from(0))).await)
        .await
        .unwrap_err();
    assert!(
        matches!(error, ConsumeError::SmartModulesRefused { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn what_holds_a_stream_up_is_told_until_it_goes_on() {
    const KAFKA_STORAGE_ERROR: i16 = 56;
    let spu = spu_with(1).await;
    spu.state().stream_step = 10;
    spu.state().stream_failure = failure("dead letters can't be written to `failed` now");
    spu.state().fetch_fates = vec![Fate::Refused(KAFKA_STORAGE_ERROR); 1_000].into();
    let mut options = with_module(from(0));
    options.end = EndOffset::Never;
    let consumer = consumer(&spu, options).await;
    let mut report = consumer.failures();

    while report.held_up_by().is_none() {
        report.changed().await;
    }
    let reason = report.held_up_by().unwrap();
    assert!(reason.contains("dead letters can't be written"), "{reason}");
    assert!(reason.contains("flights-0"), "{reason}");
    {
        let mut state = spu.state();
        state.stream_failure = None;
        state.fetch_fates.clear();
    }

    while report.held_up_by().is_some() {
        report.changed().await;
    }
}

#[tokio::test]
async fn reading_ahead_stops_at_its_bound() {
    let spu = spu_with(50).await;
    let mut options = from(0);
    options.prefetch_bytes = 1;
    let mut consumer = consumer(&spu, options).await;

    let mut count = 0;
    while let Some(batch) = consumer.next_batch().await.unwrap() {
        count += batch.record_count();
    }

    assert_eq!(count, 500);
}

#[tokio::test]
async fn a_consumer_with_nothing_new_asks_seldom_and_again_often_once_there_is() {
    let spu = spu_with(1).await;
    let options = ConsumerOptions {
        end: EndOffset::Never,
        ..from(0)
    };
    let mut consumer = consumer(&spu, options).await;
    consumer.next_batch().await.unwrap();
    let waited = async |count: usize| {
        while spu.state().fetch_waits_ms.len() < count {
            tokio::task::yield_now().await;
        }
        std::mem::take(&mut spu.state().fetch_waits_ms)
    };

    // The batch, nothing, and from then on a fetch that is ready to wait.
    assert_eq!(waited(4).await[..4], [500, 500, 10_000, 10_000]);

    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.push(0, None, Some(b"10"), &[]).unwrap();
    spu.state().append(&builder.build().unwrap());
    consumer.next_batch().await.unwrap();
    let waits = waited(100).await;
    assert!(
        waits.windows(2).any(|two| two == [500, 10_000]),
        "{waits:?}"
    );
}

#[tokio::test]
async fn unknown_topics_are_named() {
    let spu = spu_with(1).await;
    let error = client(&spu)
        .await
        .consumer(&"nowhere".parse().unwrap(), from(0))
        .await
        .unwrap_err();
    assert!(
        matches!(error, ConsumeError::UnknownTopic { .. }),
        "{error}"
    );
}
