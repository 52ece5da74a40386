//! A turn of a runner on a guest thread: a piece of the input through the chain and into the outputs' batches.
//!
//! Bounded by the bytes that it reads and by its time, so that other runners and streams get theirs. What it needs
//! goes in and comes back: nobody else has it meanwhile.

use std::sync::Arc;
use std::time::Duration;

use thalweg_record::{Batch, BatchError, Header, Headers, Record, batches};
use thalweg_runtime::Clock;
use thalweg_smartengine::{ChainError, ChainOutput, FailedRecord};
use thalweg_storage::{Log, ReadError};
use thalweg_types::{Offset, TopicPartition};

use super::answers::Answers;
use super::caller::NotAnswered;
use super::chain::Modules;
use super::log_lines::RunnerLog;
use super::output_writer::{OutputRecord, OutputWriter, SealedBatch, WriteError};
use super::routes::{HOPS_HEADER, OUTPUT_HEADER, Route, RouteError, Routes};
use super::state::StateChanges;
use crate::metrics::Metered;

/// How much of the input a turn reads, in bytes.
const INPUT_BYTES: u32 = 1 << 20;
/// How long a turn goes on.
const TURN: Duration = Duration::from_millis(10);
/// How much may have changed of what is kept, in bytes, before a turn ends: the changes are to fit a batch.
pub(super) const CHANGES_BYTES: usize = 2 << 20;
/// How much of what a module said goes into a dead letter's header.
const ERROR_BYTES_MAX: usize = 1024;

/// What a runner works on in its turns.
pub(super) struct Work {
    pub(super) chain: Metered,
    pub(super) modules: Modules,
    pub(super) routes: Arc<Routes>,
    /// One for each output partition, by its number.
    pub(super) writers: Vec<OutputWriter>,
    /// What changed since the last checkpoint; absent where nothing is kept.
    pub(super) changes: Option<StateChanges>,
    pub(super) input: TopicPartition,
    pub(super) log: Arc<Log>,
    pub(super) clock: Arc<dyn Clock>,
    /// Where what the modules log goes.
    pub(super) log_lines: Arc<RunnerLog>,
    /// What is known of what the modules ask by HTTP; absent where they may not.
    pub(super) answers: Option<Arc<Answers>>,
    /// When the turn began, in milliseconds since 1970.
    pub(super) now_ms: i64,
}

/// What a turn came to.
#[derive(Default)]
pub(super) struct Done {
    /// To be appended, in order, each with its output partition's number.
    pub(super) sealed: Vec<(usize, SealedBatch)>,
    /// All input below this is dealt with.
    pub(super) next_offset: Offset,
    pub(super) records_in: u64,
    pub(super) records_out: u64,
    pub(super) failed: u64,
    pub(super) late: u64,
    pub(super) duplicates: u64,
    /// Whether it goes on from there once the modules' calls are answered.
    pub(super) awaits_calls: bool,
    /// Why it does not go on from there.
    pub(super) failure: Option<TurnError>,
}

/// Why a turn does not go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum TurnError {
    #[error("failed to read the input")]
    Read(#[from] ReadError),
    #[error("failed to read the input's file")]
    File(#[from] std::io::Error),
    #[error(transparent)]
    Chain(#[from] ChainError),
    #[error(transparent)]
    Calls(#[from] NotAnswered),
    #[error(transparent)]
    Route(#[from] RouteError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error("failed to read what the chain gave")]
    Output(#[from] BatchError),
}

/// How many entries a chain keeps, and how large they are, in bytes.
pub(super) fn kept_size(chain: &Metered) -> (usize, usize) {
    let chain = &chain.chain;
    let sizes = [
        chain.accumulators_size(),
        chain.seen_size(),
        chain.key_values_size(),
    ];
    let (entries, bytes): (Vec<_>, Vec<_>) = sizes.into_iter().unzip();
    (entries.iter().sum(), bytes.iter().sum())
}

impl Done {
    /// A turn that failed before it did anything.
    pub(super) fn failed(from: Offset, failure: TurnError) -> Self {
        Self {
            next_offset: from,
            failure: Some(failure),
            ..Self::default()
        }
    }
}

impl Work {
    /// Puts some of the committed input from `from` on through the chain.
    pub(super) fn turn(&mut self, from: Offset, until: Offset) -> Done {
        let mut done = Done {
            next_offset: from,
            ..Done::default()
        };
        self.now_ms = self.clock.now_ms();
        if let Err(error) = self.pass(&mut done, until) {
            if matches!(error, TurnError::Route(_) | TurnError::Write(_)) {
                // The chain has gone on to behind what is written: what it keeps is of no position to tell.
                self.changes = None;
            }
            done.failure = Some(error);
        }
        self.chain.count();
        self.seal(&mut done);
        done
    }

    /// Closes the outputs' batches at where the turn has come.
    fn seal(&mut self, done: &mut Done) {
        for (number, writer) in self.writers.iter_mut().enumerate() {
            match writer.seal(done.next_offset, self.now_ms) {
                Ok(sealed) => done
                    .sealed
                    .extend(sealed.into_iter().map(|batch| (number, batch))),
                Err(error) => done.failure = Some(error.into()),
            }
        }
    }

    fn pass(&mut self, done: &mut Done, until: Offset) -> Result<(), TurnError> {
        let ends = self.clock.monotonic() + TURN;
        let input = self
            .log
            .read(done.next_offset, INPUT_BYTES, until)?
            .read_bytes()?;
        for batch in batches(&input) {
            let batch = batch?;
            while done.next_offset < batch.header().next_offset() {
                match self.pass_batch(done, batch) {
                    Err(TurnError::Chain(ChainError::AwaitsCalls)) => {
                        done.awaits_calls = true;
                        return Ok(());
                    }
                    passed => passed?,
                }
                let changed = self.changes.as_ref().map_or(0, StateChanges::bytes);
                if self.clock.monotonic() >= ends || changed >= CHANGES_BYTES {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn pass_batch(&mut self, done: &mut Done, batch: Batch<'_>) -> Result<(), TurnError> {
        let from = done.next_offset;
        self.log_lines.is_at(from);
        let mut output = self.process(batch, from)?;
        let next_offset = output.next_offset;
        if next_offset <= from {
            let reason = format!("no progress at offset {from}");
            let step = String::new();
            return Err(ChainError::BadOutput { step, reason }.into());
        }
        let out = match &output.records {
            Some(records) => {
                let records = Batch::parse(records)?.records(0)?;
                self.write(done, records.iter(), &output.failed)?
            }
            None => self.write(done, std::iter::empty(), &output.failed)?,
        };
        if !batch.header().is_control() {
            done.records_in += (next_offset.0 - from.0).unsigned_abs();
        }
        done.records_out += out;
        done.failed += output.failed.len() as u64;
        done.late += output.windows.late;
        done.duplicates += output.seen.duplicates;
        if let Some(changes) = &mut self.changes {
            changes.take_from(&mut output);
        }
        done.next_offset = next_offset;
        Ok(())
    }

    /// Puts records of a batch through the chain, so many that their calls are not too many.
    fn process(&mut self, batch: Batch<'_>, from: Offset) -> Result<ChainOutput, ChainError> {
        let chain = &mut self.chain.chain;
        let Some(answers) = &self.answers else {
            return chain.process(batch, from);
        };
        let processed = chain.process_range(batch, from..answers.begin(from));
        match &processed {
            Ok(output) => {
                self.log_lines.release();
                let forgotten = answers.forget_below(output.next_offset);
                if let Some(changes) = &mut self.changes {
                    changes.forget(forgotten);
                }
            }
            Err(_) => self.log_lines.discard(),
        }
        processed
    }

    /// Hands what came of a batch to the outputs, all of one input record together. `done` notes each input
    /// record that is through.
    fn write<'a>(
        &mut self,
        done: &mut Done,
        records: impl Iterator<Item = Result<Record<'a>, BatchError>>,
        failed: &[FailedRecord],
    ) -> Result<u64, TurnError> {
        let mut out = 0;
        let mut group: Vec<Record<'a>> = Vec::new();
        let mut failed = failed;
        for record in records {
            let record = record?;
            if let Some(first) = group.first()
                && first.offset != record.offset
            {
                let offset = first.offset;
                out += self.write_up_to(done, offset, &group, &mut failed)?;
                group.clear();
            }
            group.push(record);
        }
        if let Some(first) = group.first() {
            out += self.write_up_to(done, first.offset, &group, &mut failed)?;
        }
        while let Some(first) = failed.first() {
            self.write_up_to(done, first.offset, &[], &mut failed)?;
        }
        Ok(out)
    }

    /// What the input record at `offset` gave, and the dead letters up to it.
    fn write_up_to(
        &mut self,
        done: &mut Done,
        offset: Offset,
        group: &[Record<'_>],
        failed: &mut &[FailedRecord],
    ) -> Result<u64, TurnError> {
        while let Some(first) = failed.first()
            && first.offset < offset
        {
            let letters = take_of(failed, first.offset);
            self.write_one(first.offset, &[], letters)?;
            done.next_offset = first.offset.next();
        }
        let letters = take_of(failed, offset);
        self.write_one(offset, group, letters)?;
        done.next_offset = offset.next();
        Ok(group.len() as u64)
    }

    /// All that one input record gave: to each output what is for it, in one piece.
    fn write_one(
        &mut self,
        offset: Offset,
        group: &[Record<'_>],
        letters: &[FailedRecord],
    ) -> Result<(), TurnError> {
        if let ([record], []) = (group, letters) {
            let route = self.routes.route(offset, record.key, &record.headers)?;
            if record.headers.is_empty() && !route.changes_headers {
                // The most of all records, for which nothing is allocated.
                let outgoing = Outgoing::of(record, route);
                let writer = &mut self.writers[outgoing.output];
                return Ok(writer.push(offset, &[outgoing.record], self.now_ms)?);
            }
        }
        // Nothing is given to any output before all of it has somewhere to go.
        let mut outgoing = Vec::with_capacity(group.len() + letters.len());
        for record in group {
            let route = self.routes.route(offset, record.key, &record.headers)?;
            outgoing.push(Outgoing::of(record, route));
        }
        for letter in letters {
            outgoing.extend(self.letter(letter));
        }
        // Stable, so that the chain's order holds within an output.
        outgoing.sort_by_key(|outgoing| outgoing.output);
        for of_one in outgoing.chunk_by(|a, b| a.output == b.output) {
            let hops: Vec<_> = of_one.iter().map(Outgoing::hops_text).collect();
            let headers: Vec<Vec<Header<'_>>> = of_one
                .iter()
                .zip(&hops)
                .map(|(outgoing, hops)| outgoing.headers(hops))
                .collect();
            let records: Vec<_> = of_one
                .iter()
                .zip(&headers)
                .map(|(outgoing, headers)| OutputRecord {
                    headers,
                    ..outgoing.record
                })
                .collect();
            self.writers[of_one[0].output].push(offset, &records, self.now_ms)?;
        }
        Ok(())
    }

    /// A record that a step failed on, on its way to the step's dead-letter topic, if it has one.
    fn letter<'a>(&self, failed: &'a FailedRecord) -> Option<Outgoing<'a>> {
        let (module, extra) = self.modules.step(failed.step)?;
        let (topic, original) = (extra.dead_letters.as_ref()?, failed.original.as_ref()?);
        let key = original.key.as_deref();
        let error = &failed.message[..failed.message.floor_char_boundary(ERROR_BYTES_MAX)];
        Some(Outgoing {
            output: self.routes.partition_in(topic, key)?,
            record: OutputRecord {
                timestamp_ms: original.timestamp_ms,
                key,
                value: original.value.as_deref(),
                headers: &[],
            },
            own_headers: Own::Letter {
                original: &original.headers,
                said: Box::new([
                    ("thalweg.source.topic", self.input.topic.to_string()),
                    ("thalweg.source.partition", self.input.partition.to_string()),
                    ("thalweg.source.offset", failed.offset.to_string()),
                    ("thalweg.module", module.to_owned()),
                    ("thalweg.version", extra.version.clone()),
                    ("thalweg.error", error.to_owned()),
                ]),
            },
        })
    }
}

/// A record on its way to an output.
struct Outgoing<'a> {
    output: usize,
    /// Without its headers.
    record: OutputRecord<'a>,
    own_headers: Own<'a>,
}

/// Where a record's headers come from.
enum Own<'a> {
    Chain {
        headers: Headers<'a>,
        route: Route,
    },
    Letter {
        original: &'a [(Vec<u8>, Option<Vec<u8>>)],
        /// Where it came from and why.
        said: Box<[(&'static str, String)]>,
    },
}

impl<'a> Outgoing<'a> {
    fn of(record: &Record<'a>, route: Route) -> Self {
        Self {
            output: route.output,
            record: OutputRecord {
                timestamp_ms: record.timestamp_ms,
                key: record.key,
                value: record.value,
                headers: &[],
            },
            own_headers: Own::Chain {
                headers: record.headers,
                route,
            },
        }
    }

    fn hops_text(&self) -> String {
        match &self.own_headers {
            Own::Chain { route, .. } => {
                route.hops.map_or_else(String::new, |hops| hops.to_string())
            }
            Own::Letter { .. } => String::new(),
        }
    }

    /// The headers in the output; `hops` is what they say of the record's hops, if anything.
    fn headers<'b>(&'b self, hops: &'b str) -> Vec<Header<'b>> {
        match &self.own_headers {
            Own::Chain { headers, route } if !route.changes_headers => headers.iter().collect(),
            Own::Chain { headers, .. } => {
                let ours = [OUTPUT_HEADER.as_bytes(), HOPS_HEADER.as_bytes()];
                let kept = headers.iter().filter(|header| !ours.contains(&header.key));
                let hops = (!hops.is_empty()).then(|| Header::new(HOPS_HEADER, hops.as_bytes()));
                kept.chain(hops).collect()
            }
            Own::Letter { original, said } => {
                let original = original.iter().map(|(key, value)| Header {
                    key,
                    value: value.as_deref(),
                });
                let said = said
                    .iter()
                    .map(|(name, value)| Header::new(name, value.as_bytes()));
                original.chain(said).collect()
            }
        }
    }
}

/// Takes those of one input record off the front.
fn take_of<'a>(failed: &mut &'a [FailedRecord], offset: Offset) -> &'a [FailedRecord] {
    let count = failed.iter().take_while(|one| one.offset == offset).count();
    let (taken, rest) = failed.split_at(count);
    *failed = rest;
    taken
}
