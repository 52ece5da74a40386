//! What a chain is shown of before its stream, or of before the batches that a producer sends, a
//! piece at a time.
//!
//! [`LookingBack`] belongs to a chain that was just opened. Each turn on a guest thread reads about
//! as much of the log as a turn of the stream itself does, so that a long look-back holds up nobody
//! else; the stream begins once [`LookingBack::advance`] says that it is over.

use std::collections::VecDeque;
use std::ops::Range;

use thalweg_record::batches;
use thalweg_smartengine::{Chain, ChainError, LookBackSearch, LookBackWindow};
use thalweg_storage::{Log, ReadError};
use thalweg_types::{LookBack, Offset};

/// How much of the log is read in one turn, in bytes.
pub(super) const TURN_BYTES: u32 = 1 << 20;

/// What is left to show to the steps of a chain.
#[derive(Debug)]
pub(super) struct LookingBack {
    /// Where the stream begins.
    until: Offset,
    /// When it began, in milliseconds since 1970.
    now_ms: i64,
    left: VecDeque<(usize, LookBack)>,
    current: Option<(usize, Stage)>,
}

/// How far one step's look-back has come.
#[derive(Debug)]
enum Stage {
    /// Going back over the log.
    Searching(Searching),
    /// Going forward: the next offset to show.
    Showing(LookBackWindow, Offset),
}

/// A search, and the offsets that it has yet to see of those that it asked for.
#[derive(Debug)]
pub(super) struct Searching {
    search: LookBackSearch,
    unseen: Range<Offset>,
}

/// Why a look-back can't go on.
#[derive(Debug)]
pub(super) enum LookBackError {
    Read(ReadError),
    Chain(ChainError),
}

impl From<ReadError> for LookBackError {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

impl From<ChainError> for LookBackError {
    fn from(error: ChainError) -> Self {
        Self::Chain(error)
    }
}

impl From<thalweg_record::BatchError> for LookBackError {
    fn from(error: thalweg_record::BatchError) -> Self {
        Self::Chain(error.into())
    }
}

impl LookingBack {
    /// For `chain`, whose stream begins at `until`; `None` where no step looks back.
    pub(super) fn of(chain: &Chain, until: Offset, now_ms: i64) -> Option<Self> {
        let left: VecDeque<_> = chain.wants_look_back().into();
        (!left.is_empty()).then_some(Self {
            until,
            now_ms,
            left,
            current: None,
        })
    }

    /// Shows some more; whether it is over.
    pub(super) fn advance(&mut self, chain: &mut Chain, log: &Log) -> Result<bool, LookBackError> {
        let mut read_bytes = 0;
        while read_bytes < TURN_BYTES as usize {
            let (step, stage) = match self.current.take() {
                Some(current) => current,
                None => match self.left.pop_front() {
                    Some((step, look_back)) => (step, self.search(look_back, log)?),
                    None => return Ok(true),
                },
            };
            let next = match stage {
                Stage::Searching(mut searching) => {
                    Some(match searching.advance(log, &mut read_bytes)? {
                        Some(window) => Stage::Showing(window, window.from),
                        None => Stage::Searching(searching),
                    })
                }
                Stage::Showing(window, next) => {
                    show_on(chain, step, window, next, log, &mut read_bytes)?
                }
            };
            self.current = next.map(|stage| (step, stage));
        }
        Ok(false)
    }

    fn search(&self, look_back: LookBack, log: &Log) -> Result<Stage, LookBackError> {
        let mut earliest = log.log_start();
        if let Some(age_ms) = look_back.age_ms {
            let age_ms = i64::try_from(age_ms).unwrap_or(i64::MAX);
            let not_before_ms = self.now_ms.saturating_sub(age_ms);
            let found = log.offset_for_timestamp(not_before_ms, self.until)?;
            earliest = found.map_or(self.until, |(offset, _)| offset).max(earliest);
        }
        let search = LookBackSearch::new(look_back, earliest, self.until, self.now_ms);
        Ok(Stage::Searching(Searching::new(search)))
    }
}

impl Searching {
    pub(super) fn new(search: LookBackSearch) -> Self {
        Self {
            search,
            unseen: Offset::ZERO..Offset::ZERO,
        }
    }

    /// Lets the search see a piece of the range that it asked for, or ask for the next. Gives what
    /// it found once it is over.
    pub(super) fn advance(
        &mut self,
        log: &Log,
        read_bytes: &mut usize,
    ) -> Result<Option<LookBackWindow>, LookBackError> {
        if self.unseen.start >= self.unseen.end {
            return Ok(match self.search.next_read() {
                Some(range) => {
                    self.unseen = range;
                    None
                }
                None => Some(self.search.window()),
            });
        }
        let (piece, from) = read(log, self.unseen.start, self.unseen.end)?;
        *read_bytes += piece.len();
        let mut next = from;
        for batch in batches(&piece) {
            let batch = batch?;
            if batch.header().base_offset >= self.unseen.end {
                break;
            }
            self.search.see(&batch)?;
            next = batch.header().next_offset();
        }
        // Nothing is left to be read where retention was quicker.
        self.unseen.start = if next == from { self.unseen.end } else { next };
        Ok(None)
    }
}

/// Shows a piece of the window; what is left of it.
fn show_on(
    chain: &mut Chain,
    step: usize,
    window: LookBackWindow,
    next: Offset,
    log: &Log,
    read_bytes: &mut usize,
) -> Result<Option<Stage>, LookBackError> {
    if next >= window.until {
        return Ok(None);
    }
    let (piece, from) = read(log, next, window.until)?;
    *read_bytes += piece.len();
    let mut next = from;
    for batch in batches(&piece) {
        let batch = batch?;
        let header = *batch.header();
        if header.base_offset >= window.until {
            break;
        }
        chain.look_back(step, batch, &window)?;
        next = header.next_offset();
    }
    let is_over = next == from || next >= window.until;
    Ok((!is_over).then_some(Stage::Showing(window, next)))
}

/// A piece of the log of which the first batches may hold offsets of `from..until`, and the offset
/// that it was read from: retention may have gone past `from` meanwhile.
pub(super) fn read(
    log: &Log,
    from: Offset,
    until: Offset,
) -> Result<(bytes::Bytes, Offset), ReadError> {
    let from = from.max(log.log_start());
    if from >= until {
        return Ok((bytes::Bytes::new(), from));
    }
    // The stream may begin within a batch, which is read whole and cut by the window.
    let slice = log.read(from, TURN_BYTES, log.high_watermark().max(until))?;
    Ok((slice.read_bytes()?, from))
}
