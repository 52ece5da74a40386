//! Whatever was appended when a runner ended, the next one writes the rest and nothing twice.

use proptest::prelude::*;
use thalweg_record::Batch;

use super::*;

const PRODUCER: ProducerId = ProducerId(1 << 62);

/// A partition as its leader sees it: what it holds, and what it knows of the producer.
#[derive(Debug, Default)]
struct Partition {
    values: Vec<Vec<u8>>,
    producer_epoch: i16,
    last_sequence: Option<i32>,
    marker: Option<ProgressMarker>,
    largest_bytes: usize,
}

impl Partition {
    fn append(&mut self, sealed: &SealedBatch) {
        let batch = Batch::parse(&sealed.bytes).unwrap();
        let header = batch.header();
        let expected = match self.last_sequence {
            None => Follows::Nothing,
            Some(last_sequence) => Follows::Batch {
                producer_epoch: ProducerEpoch(self.producer_epoch),
                last_sequence,
            },
        };
        assert_eq!(sealed.output.follows, expected);
        match ProgressMarker::of(header) {
            Some(marker) => self.marker = Some(marker),
            None => batch.validate_produced().unwrap(),
        }
        self.producer_epoch = header.producer_epoch.0;
        self.last_sequence = header.last_sequence();
        self.largest_bytes = self.largest_bytes.max(sealed.bytes.len());
        for record in &batch.records(0).unwrap() {
            self.values.push(record.unwrap().value.unwrap().to_vec());
        }
        let progress = self.progress();
        if progress.records_within == 0 {
            assert_eq!(progress.position, sealed.reaches);
        }
    }

    fn progress(&self) -> TransformProgress {
        let (Some(marker), Some(last)) = (self.marker, self.last_sequence) else {
            return TransformProgress {
                position: Offset(0),
                records_within: 0,
            };
        };
        let since = next_sequence(last, -marker.sequence);
        match marker.records_within {
            Some(_) => TransformProgress {
                position: marker.position,
                records_within: since.cast_unsigned(),
            },
            None => TransformProgress {
                position: marker.position.plus(since.into()),
                records_within: 0,
            },
        }
    }

    fn writer(&self, batch_bytes_max: usize) -> (OutputWriter, SealedBatch) {
        let follows = match self.last_sequence {
            None => Follows::Nothing,
            Some(last_sequence) => Follows::Batch {
                producer_epoch: ProducerEpoch(self.producer_epoch),
                last_sequence,
            },
        };
        let options = WriterOptions {
            producer_id: PRODUCER,
            producer_epoch: ProducerEpoch(self.producer_epoch + 1),
            batch_bytes_max,
            codec: Codec::None,
        };
        OutputWriter::begin(options, self.progress(), follows, 0)
    }
}

fn record(value: &[u8]) -> OutputRecord<'_> {
    OutputRecord {
        timestamp_ms: 5,
        key: None,
        value: Some(value),
        headers: &[],
    }
}

/// What each input record gives: the sizes of its records.
type Input = Vec<Vec<usize>>;

fn value_of(offset: usize, index: usize, bytes: usize) -> Vec<u8> {
    let mut value = format!("{offset}.{index}.").into_bytes();
    value.resize(value.len().max(bytes), b'x');
    value
}

/// Runs over the input from the output's position on, and appends only the first `appended` batches.
fn run(partition: &mut Partition, input: &Input, seal_every: usize, appended: usize, limit: usize) {
    let (mut writer, first) = partition.writer(limit);
    let mut sealed = vec![first];
    let from = usize::try_from(partition.progress().position.0).unwrap();
    // A runner begins where its slowest output is, which may be earlier.
    let from = from.saturating_sub(2);
    for (offset, sizes) in input.iter().enumerate().skip(from) {
        let values: Vec<_> = (0..sizes.len())
            .map(|index| value_of(offset, index, sizes[index]))
            .collect();
        let records: Vec<_> = values.iter().map(|value| record(value)).collect();
        let offset = Offset(i64::try_from(offset).unwrap());
        writer.push(offset, &records, 0).unwrap();
        if (offset.0 as usize).is_multiple_of(seal_every) {
            sealed.extend(writer.seal(offset.next(), 0).unwrap());
        }
    }
    let end = Offset(i64::try_from(input.len()).unwrap());
    sealed.extend(writer.seal(end, 0).unwrap());
    if writer.position() < end {
        sealed.push(writer.mark(end, 0));
    }
    for batch in sealed.iter().take(appended) {
        partition.append(batch);
    }
}

fn everything(input: &Input) -> Vec<Vec<u8>> {
    let values = input.iter().enumerate().flat_map(|(offset, sizes)| {
        (0..sizes.len()).map(move |index| value_of(offset, index, sizes[index]))
    });
    values.collect()
}

proptest! {
    #[test]
    fn what_runners_write_one_after_the_other_is_what_one_would(
        input in prop::collection::vec(prop::collection::vec(1_usize..200, 0..12), 0..20),
        runs in prop::collection::vec((1_usize..6, 0_usize..9), 0..8),
        limit in 320_usize..1200,
    ) {
        let mut partition = Partition { producer_epoch: -1, ..Partition::default() };
        for (seal_every, appended) in runs {
            run(&mut partition, &input, seal_every, appended, limit);
        }
        run(&mut partition, &input, 3, usize::MAX, limit);

        prop_assert_eq!(&partition.values, &everything(&input));
        prop_assert!(partition.largest_bytes <= limit);
        let end = i64::try_from(input.len()).unwrap();
        prop_assert_eq!(partition.progress(), TransformProgress { position: Offset(end), records_within: 0 });
    }
}

#[test]
fn a_record_that_fits_no_batch_is_named_with_the_setting() {
    let partition = Partition {
        producer_epoch: -1,
        ..Partition::default()
    };
    let (mut writer, _) = partition.writer(300);
    let error = writer
        .push(Offset(7), &[record(&[b'x'; 400])], 0)
        .unwrap_err();

    assert!(
        error.to_string().contains("`max.message.bytes` of 300"),
        "{error}"
    );
    assert!(error.to_string().contains("offset 7"), "{error}");
}

#[test]
fn a_position_that_is_far_away_gets_a_marker() {
    let partition = Partition {
        producer_epoch: -1,
        ..Partition::default()
    };
    let (mut writer, _) = partition.writer(1000);
    let far = Offset(1 << 40);

    writer.push(far, &[record(b"a")], 0).unwrap();
    let sealed = writer.seal(far.next(), 0).unwrap();

    assert!(sealed[0].is_marker && !sealed[1].is_marker);
    assert_eq!((sealed[0].reaches, sealed[1].reaches), (far, far.next()));
}
