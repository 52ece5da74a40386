//! What the log's tests share: batches, a log in a folder of its own, and files that fail.

mod compacting;

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, mpsc};

use bytes::Bytes;
use tempfile::TempDir;
use thalweg_record::{
    Batch, BatchBuilder, BatchHeader, BatchOptions, Codec, ProgressMarker, assemble_batch, batches,
};
use thalweg_types::{
    Durability, Follows, LeaderEpoch, Offset, ProducerEpoch, ProducerId, next_sequence,
};

pub(crate) use self::compacting::{
    DELETE_RETENTION, PlainRecord, clean, clean_with, compacted, keyed, keyed_in, records_in,
};
use crate::files::{LogFile, LogFiles, OpenMode, StdFiles};
use crate::locks::lock;
use crate::{
    Append, AppendError, Appended, Log, LogHealth, LogListener, LogOptions, LogProgress, OpenError,
    ProducerSequences, StorageThreads, ThreadOptions,
};

/// A time in milliseconds, for tests that need one.
pub(crate) const NOW_MS: i64 = 1_700_000_000_000;

/// A batch of records whose values are text, all with the same timestamp.
pub(crate) fn batch_at(timestamp_ms: i64, values: &[&str]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for value in values {
        builder
            .push(timestamp_ms, None, Some(value.as_bytes()), &[])
            .unwrap();
    }
    builder.build().unwrap()
}

/// A batch of so many small records.
pub(crate) fn batch(count: usize) -> Vec<u8> {
    batch_at(NOW_MS, &vec!["value"; count])
}

/// A batch of an idempotent producer.
pub(crate) fn batch_of(producer: i64, epoch: i16, sequence: i32, count: usize) -> Vec<u8> {
    let mut bytes = batch(count);
    thalweg_record::stamp_sequence(
        &mut bytes,
        ProducerId(producer),
        ProducerEpoch(epoch),
        sequence,
    )
    .unwrap();
    bytes
}

/// The marker of the producer of transform 3, input partition 0.
pub(crate) fn marker_of(epoch: i16, sequence: i32, position: Offset) -> Vec<u8> {
    let marker = ProgressMarker {
        producer_id: TRANSFORM_PRODUCER,
        producer_epoch: ProducerEpoch(epoch),
        sequence,
        position,
        records_within: None,
    };
    marker.encode(NOW_MS).unwrap()
}

/// The producer of transform 3 for partition 0 of its first input.
pub(crate) const TRANSFORM_PRODUCER: ProducerId = ProducerId(1 << 62 | 3 << 24);

/// What `batch_of` stands for, as a SmartModule's caller would say it.
pub(crate) fn sequences(producer: i64, first: i32, last: i32) -> ProducerSequences {
    ProducerSequences {
        producer_id: ProducerId(producer),
        producer_epoch: ProducerEpoch(0),
        first_sequence: first,
        last_sequence: last,
        follows: Follows::Anything,
    }
}

/// Appends what a SmartModule made of a producer's batch: `count` records in place of what was sent.
pub(crate) fn append_changed(
    log: &Arc<Log>,
    sequences: ProducerSequences,
    count: usize,
) -> Result<Appended, AppendError> {
    let mut bytes = match count {
        0 => assemble_batch(BatchHeader::default(), &[], Codec::None).unwrap(),
        _ => batch(count),
    };
    let last_delta = i32::try_from(count.saturating_sub(1)).unwrap();
    let base_sequence = next_sequence(sequences.last_sequence, -last_delta);
    let (id, epoch) = (sequences.producer_id, sequences.producer_epoch);
    thalweg_record::stamp_sequence(&mut bytes, id, epoch, base_sequence).unwrap();
    append_with(log, bytes, |append| append.sequences = Some(sequences))
}

/// Settings for tests: small segments and indexes, nothing is deleted.
pub(crate) fn options() -> LogOptions {
    LogOptions {
        segment_bytes: 1 << 20,
        retention: None,
        index_interval_bytes: 256,
        durability: Durability::Memory,
        ..LogOptions::default()
    }
}

/// A folder for a log, with files that can be made to fail.
pub(crate) struct TestBed {
    pub(crate) folder: TempDir,
    pub(crate) files: Arc<FaultyFiles>,
    pub(crate) options: LogOptions,
    threads: Arc<StorageThreads>,
}

impl TestBed {
    pub(crate) fn new(options: LogOptions) -> Self {
        let thread_options = ThreadOptions {
            writer_threads: 1,
            sync_threads: 1,
            open_segments_max: 4,
            ..ThreadOptions::default()
        };
        Self {
            folder: tempfile::tempdir().unwrap(),
            files: Arc::default(),
            options,
            threads: StorageThreads::start(thread_options).unwrap(),
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    pub(crate) fn open(&self) -> Arc<Log> {
        self.try_open().unwrap()
    }

    pub(crate) fn try_open(&self) -> Result<Arc<Log>, OpenError> {
        Log::open(
            self.path(),
            self.options.clone(),
            Arc::clone(&self.threads),
            self.files.clone(),
            NOW_MS,
        )
    }

    /// Some log in another folder.
    pub(crate) fn placeholder(&self) -> Arc<Log> {
        self.open_another("placeholder")
    }

    /// A log in a folder of this name.
    pub(crate) fn open_another(&self, name: &str) -> Arc<Log> {
        let path = self.folder.path().join(name);
        let (threads, files) = (Arc::clone(&self.threads), self.files.clone());
        Log::open(path, self.options.clone(), threads, files, NOW_MS).unwrap()
    }

    /// The files in the log's folder that end so, sorted.
    pub(crate) fn files_ending(&self, end: &str) -> Vec<PathBuf> {
        let mut found: Vec<_> = std::fs::read_dir(self.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.to_str().unwrap().ends_with(end))
            .collect();
        found.sort();
        found
    }
}

/// Lets go of a log as a process that dies does, and waits until no thread works for it.
pub(crate) fn crash(log: Arc<Log>) {
    let gone = Arc::downgrade(&log);
    drop(log);
    while gone.strong_count() > 0 {
        std::thread::yield_now();
    }
}

/// Appends and waits for the answer.
pub(crate) fn append(log: &Arc<Log>, batches: Vec<u8>) -> Result<Appended, AppendError> {
    append_with(log, batches, |_| {})
}

/// Appends with changes and waits for the answer.
pub(crate) fn append_with(
    log: &Arc<Log>,
    batches: Vec<u8>,
    change: impl FnOnce(&mut Append),
) -> Result<Appended, AppendError> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let mut append = Append {
        batches: Bytes::from(batches),
        leader_epoch: log.latest_epoch().max(LeaderEpoch(0)),
        now_ms: NOW_MS,
        sequences: None,
        done: Box::new(move |result| sender.send(result).unwrap()),
    };
    change(&mut append);
    log.submit(append);
    receiver.recv().unwrap()
}

/// Everything from an offset to the log's end, read slice by slice, checked and joined.
pub(crate) fn read_all(log: &Log, from: Offset) -> Vec<u8> {
    let mut next = from;
    let mut all = Vec::new();
    while next < log.log_end() {
        let slice = log.read(next, 1000, log.log_end()).unwrap();
        let bytes = slice.read_bytes().unwrap();
        let parsed: Vec<Batch<'_>> = batches(&bytes).map(Result::unwrap).collect();
        assert_eq!(parsed[0].header().base_offset, slice.base_offset);
        for batch in &parsed {
            batch.validate(1 << 26).unwrap();
        }
        assert_eq!(
            parsed.last().unwrap().header().next_offset(),
            slice.next_offset
        );
        assert!(slice.next_offset > next);
        next = slice.next_offset;
        all.extend_from_slice(&bytes);
    }
    all
}

/// Flips a bit of a file.
pub(crate) fn flip_bit(path: &Path, bit: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[bit / 8] ^= 1 << (bit % 8);
    std::fs::write(path, bytes).unwrap();
}

/// Remembers what it heard, to be waited for.
#[derive(Default)]
pub(crate) struct Listener {
    heard: Mutex<(Option<LogProgress>, Option<LogHealth>)>,
    wake: Condvar,
}

impl Listener {
    pub(crate) fn wait_until_stable(&self, offset: Offset) {
        let mut heard = lock(&self.heard);
        while heard.0.is_none_or(|progress| progress.stable_end < offset) {
            heard = self.wake.wait(heard).unwrap();
        }
    }

    pub(crate) fn wait_for_failure(&self) -> LogHealth {
        let mut heard = lock(&self.heard);
        loop {
            if let Some(health) = &heard.1 {
                return health.clone();
            }
            heard = self.wake.wait(heard).unwrap();
        }
    }
}

impl LogListener for Listener {
    fn progressed(&self, progress: LogProgress) {
        let mut heard = lock(&self.heard);
        let is_news = heard
            .0
            .is_none_or(|known| known.stable_end <= progress.stable_end);
        if is_news {
            heard.0 = Some(progress);
        }
        self.wake.notify_all();
    }

    fn failed(&self, health: LogHealth) {
        lock(&self.heard).1 = Some(health);
        self.wake.notify_all();
    }
}

/// The real file system, until it is told to fail.
#[derive(Default)]
pub(crate) struct FaultyFiles {
    faults: Arc<Mutex<Faults>>,
    /// Called once, when a file whose name ends so was opened.
    after_open: Mutex<Option<AfterOpen>>,
}

type AfterOpen = (&'static str, Box<dyn FnOnce() + Send>);

/// What goes wrong.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// How many more bytes the disk takes; `None` is without limit.
    pub(crate) room_bytes: Option<usize>,
    /// How many bytes a single write takes at most.
    pub(crate) write_bytes_max: Option<usize>,
    /// The next write writes so many bytes and fails.
    pub(crate) fail_write_after: Option<usize>,
    /// Syncs of files fail.
    pub(crate) fail_syncs: bool,
    /// Syncs of folders fail.
    pub(crate) fail_folder_syncs: bool,
    /// Cutting files fails.
    pub(crate) fail_cuts: bool,
    /// Replacing the small file of this name finds the disk full.
    pub(crate) fail_replacing: Option<&'static str>,
    /// After so many more changes the process dies: they fail from then on, and the one at which
    /// it dies is half done if it is a write.
    pub(crate) dies_after: Option<usize>,
    /// How many changes there were.
    pub(crate) changes: usize,
    /// Files with bytes that are not synced.
    unsynced: HashSet<PathBuf>,
    /// How many times files were opened.
    pub(crate) opens: usize,
    /// How many are open.
    pub(crate) open_now: usize,
    /// How many times files were synced.
    pub(crate) syncs: usize,
    /// Folders that were synced, each as often as it was.
    pub(crate) synced_folders: Vec<PathBuf>,
}

impl Faults {
    /// Counts a change; an error when the process is dead.
    fn change(&mut self) -> io::Result<()> {
        self.changes += 1;
        match &mut self.dies_after {
            Some(0) => Err(io::Error::other("the process is dead")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl FaultyFiles {
    pub(crate) fn changes(&self) -> usize {
        lock(&self.faults).changes
    }

    pub(crate) fn set(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut lock(&self.faults));
    }

    /// Has something happen when a file whose name ends so was opened next.
    pub(crate) fn after_open(&self, end: &'static str, work: impl FnOnce() + Send + 'static) {
        *lock(&self.after_open) = Some((end, Box::new(work)));
    }

    pub(crate) fn folder_syncs(&self) -> usize {
        lock(&self.faults).synced_folders.len()
    }

    /// Whether a folder was synced since this was asked last.
    pub(crate) fn take_folder_sync(&self, path: &Path) -> bool {
        let synced = std::mem::take(&mut lock(&self.faults).synced_folders);
        synced.iter().any(|folder| folder == path)
    }

    pub(crate) fn opens(&self) -> usize {
        lock(&self.faults).opens
    }

    pub(crate) fn open_now(&self) -> usize {
        lock(&self.faults).open_now
    }

    pub(crate) fn syncs(&self) -> usize {
        lock(&self.faults).syncs
    }
}

impl LogFiles for FaultyFiles {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn LogFile>> {
        lock(&self.faults).opens += 1;
        if mode == OpenMode::Create {
            lock(&self.faults).change()?;
            if lock(&self.faults).room_bytes == Some(0) {
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        let file = Arc::new(FaultyFile {
            path: path.to_owned(),
            file: StdFiles.open(path, mode)?,
            faults: Arc::clone(&self.faults),
        });
        lock(&self.faults).open_now += 1;
        let is_awaited = |(end, _): &mut AfterOpen| path.to_string_lossy().ends_with(*end);
        let work = lock(&self.after_open).take_if(is_awaited);
        if let Some((_, work)) = work {
            work();
        }
        Ok(file)
    }

    fn replace(&self, path: &Path, content: &[u8], sync: bool) -> io::Result<()> {
        let failing = lock(&self.faults).fail_replacing;
        if failing.is_some_and(|name| path.ends_with(name)) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        lock(&self.faults).change()?;
        // No real sync: the tests' crashes are of the process.
        let _ = sync;
        StdFiles.replace(path, content, false)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut faults = lock(&self.faults);
        faults.change()?;
        // A power cut could leave a name for bytes that are not there.
        assert!(
            !faults.unsynced.contains(from),
            "{} is not synced",
            from.display()
        );
        StdFiles.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut faults = lock(&self.faults);
        faults.change()?;
        faults.unsynced.remove(path);
        StdFiles.remove(path)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        let mut faults = lock(&self.faults);
        faults.change()?;
        if faults.fail_folder_syncs {
            return Err(io::Error::other("injected: the disk fails to sync"));
        }
        faults.synced_folders.push(path.to_owned());
        Ok(())
    }
}

struct FaultyFile {
    path: PathBuf,
    file: Arc<dyn LogFile>,
    faults: Arc<Mutex<Faults>>,
}

impl Drop for FaultyFile {
    fn drop(&mut self) {
        lock(&self.faults).open_now -= 1;
    }
}

impl LogFile for FaultyFile {
    fn write_vectored_at(&self, buffers: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        let mut faults = lock(&self.faults);
        let all: Vec<u8> = buffers.iter().flat_map(|buffer| buffer.to_vec()).collect();
        let mut taken = all.len();
        if let Some(limit) = faults.write_bytes_max {
            taken = taken.min(limit);
        }
        let write = |count: usize| {
            self.file
                .write_vectored_at(&[IoSlice::new(&all[..count])], position)
        };
        faults.unsynced.insert(self.path.clone());
        if let Err(dead) = faults.change() {
            // The first of them was under way.
            if faults.dies_after.take().is_some() {
                write(taken / 2)?;
                faults.dies_after = Some(0);
            }
            return Err(dead);
        }
        if let Some(count) = faults.fail_write_after.take() {
            write(count.min(taken))?;
            return Err(io::Error::other("injected"));
        }
        if let Some(room) = &mut faults.room_bytes {
            taken = taken.min(*room);
            *room -= taken;
            if taken == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        write(taken)
    }

    fn set_len(&self, len_bytes: u64) -> io::Result<()> {
        lock(&self.faults).change()?;
        if lock(&self.faults).fail_cuts {
            return Err(io::Error::other("injected"));
        }
        self.file.set_len(len_bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut faults = lock(&self.faults);
        faults.change()?;
        faults.syncs += 1;
        if faults.fail_syncs {
            return Err(io::Error::other("injected"));
        }
        faults.unsynced.remove(&self.path);
        Ok(())
    }

    fn handle(&self) -> &Arc<File> {
        self.file.handle()
    }
}
