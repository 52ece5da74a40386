//! Keeps the number of open segments bounded over all logs of a process.
//!
//! Segments open their files when they are first used. When too many are open, the one that was
//! not used for longest closes them again (by the clock algorithm, so that a use costs one store).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, Weak};

use crate::locks::lock;
use crate::segment::Segment;

/// The open segments, the longest open first.
#[derive(Debug)]
pub(crate) struct OpenFiles {
    segments_max: usize,
    clock: Mutex<VecDeque<Weak<Segment>>>,
}

impl OpenFiles {
    pub(crate) const fn new(segments_max: usize) -> Self {
        Self {
            segments_max,
            clock: Mutex::new(VecDeque::new()),
        }
    }

    /// Notes that a segment has opened its files, and closes another's where there are too many.
    pub(crate) fn admit(&self, opened: &Arc<Segment>) {
        let mut surplus = Vec::new();
        {
            let mut clock = lock(&self.clock);
            clock.push_back(Arc::downgrade(opened));
            // Each segment gets at most one second chance per call, so this ends.
            let mut chances = clock.len();
            while clock.len() > self.segments_max {
                let Some(oldest) = clock.pop_front() else {
                    break;
                };
                match oldest.upgrade() {
                    Some(segment) if chances > 0 && segment.take_used() => clock.push_back(oldest),
                    Some(segment) => surplus.push(segment),
                    None => {}
                }
                chances = chances.saturating_sub(1);
            }
        }
        for segment in surplus {
            segment.close_files();
        }
    }
}
