//! When outputs are told how far the input has been, although nothing came of it for them, and when what is kept is
//! written to the changelog.

use std::time::Duration;

use thalweg_types::Offset;

use super::super::checkpoint::Held;
use super::{Output, Pump};

/// How long what is kept may be in no checkpoint: so much input goes through again where a runner is lost.
const CHECKPOINT_AFTER: Duration = Duration::from_secs(1);
/// How much of it may change, in bytes, before the next checkpoint begins.
const CHECKPOINT_BYTES: usize = 1 << 20;
/// How long an output may be behind the input without anything for it, before it is told how far that was.
const QUIET_AFTER: Duration = Duration::from_secs(10);
/// How far an output may be behind, in input records, before it is told at once.
const QUIET_RECORDS: i64 = 100_000;

impl Pump<'_> {
    /// The outputs that are not the changelog.
    pub(super) fn outputs_proper(&self) -> impl Iterator<Item = &Output> {
        let count = self.outputs.len() - usize::from(self.plan.keeps_state);
        self.outputs.iter().take(count)
    }

    /// Writes the checkpoint that outputs have waited for, and begins one where that is due.
    pub(super) fn keep_up(&mut self) {
        self.release();
        self.mark_again();
        let is_large = self
            .work
            .as_ref()
            .is_some_and(|work| work.changed_bytes() >= CHECKPOINT_BYTES);
        let now = self.context.clock.monotonic();
        let is_due = |since: Duration| now >= since + CHECKPOINT_AFTER;
        if self.changed_since.is_some_and(is_due) || is_large {
            self.begin_checkpoint();
        }
    }

    /// Writes the markers anew that are gone from their logs: a copy that is made from now on would not know where the
    /// transform is.
    fn mark_again(&mut self) {
        if self.outputs.iter().all(|output| !output.lacks_marker) {
            return;
        }
        let now_ms = self.context.clock.now_ms();
        let changelog = self.outputs.len() - usize::from(self.plan.keeps_state);
        let Some(work) = &mut self.work else { return };
        let mut markers = Vec::new();
        let outputs = self.outputs.iter_mut().zip(&mut work.writers);
        for (number, (output, writer)) in outputs.enumerate() {
            // Nothing is deleted from a changelog.
            if output.lacks_marker && number != changelog {
                output.lacks_marker = false;
                // Not acknowledged yet, and no older one is of use.
                output.marker = Offset(i64::MAX);
                markers.push((number, writer.mark(writer.position(), now_ms)));
            }
        }
        for (output, marker) in markers {
            self.enqueue(output, marker);
        }
    }

    /// Lets the checkpoint go that waits for the outputs, if they have what it waits for.
    fn release(&mut self) {
        let outlets = self.outputs_proper().map(|output| &output.outlet);
        let is_free = self.held.as_ref().is_some_and(|held| held.is_free(outlets));
        if let Some(held) = self.held.take_if(|_| is_free) {
            let changelog = self.outputs.len() - 1;
            for batch in held.kept {
                self.enqueue(changelog, batch);
            }
        }
    }

    /// Begins a checkpoint; whether there was anything to write.
    fn begin_checkpoint(&mut self) -> bool {
        let now_ms = self.context.clock.now_ms();
        let position = self.position;
        let Some(work) = self.work.as_mut().filter(|_| self.held.is_none()) else {
            return false;
        };
        // Also where nothing comes of it: what is due and stays so would have the pump go round without a pause.
        self.changed_since = None;
        self.quiet_since = None;
        let checkpoint = match work.checkpoint(position, now_ms) {
            Ok(Some(checkpoint)) => checkpoint,
            Ok(None) => return false,
            Err(error) => {
                self.fail(error.into());
                return false;
            }
        };
        for (output, marker) in checkpoint.markers {
            self.enqueue(output, marker);
        }
        let outlets = self.outputs_proper().map(|output| &output.outlet);
        self.held = Some(Held::behind(checkpoint.kept, outlets));
        // Where all is there already, nothing else would come to think of it.
        self.release();
        true
    }

    /// Tells outputs that are behind how far the input has been; whether there are any.
    pub(super) fn mark_quiet_outputs(&mut self) -> bool {
        if self.plan.keeps_state {
            return self.begin_checkpoint();
        }
        let now_ms = self.context.clock.now_ms();
        let position = self.position;
        let Some(work) = &mut self.work else {
            return false;
        };
        let mut markers = Vec::new();
        for (output, writer) in work.writers.iter_mut().enumerate() {
            if writer.position() < position {
                markers.push((output, writer.mark(position, now_ms)));
            }
        }
        let any = !markers.is_empty();
        for (output, marker) in markers {
            self.enqueue(output, marker);
        }
        self.quiet_since = None;
        any
    }

    pub(super) fn watch_quiet_outputs(&mut self) {
        let Some(work) = &self.work else { return };
        let positions = work.writers.iter().map(|writer| writer.position());
        let behind = positions
            .map(|at| self.position.0 - at.0)
            .max()
            .unwrap_or(0);
        if behind > QUIET_RECORDS {
            self.mark_quiet_outputs();
        } else if behind > 0 {
            let now = self.context.clock.monotonic();
            self.quiet_since.get_or_insert(now);
        } else {
            self.quiet_since = None;
        }
    }

    /// When something is to be done although nothing happens: only what can be done then.
    pub(super) fn next_due(&self) -> Option<Duration> {
        let is_home = self.work.is_some();
        let may_keep = is_home && self.held.is_none();
        let quiet = self
            .quiet_since
            .filter(|_| may_keep)
            .map(|since| since + QUIET_AFTER);
        // The last of all is the changelog, where the transform keeps state.
        let markable = if may_keep {
            self.outputs.len()
        } else {
            self.outputs_proper().count()
        };
        let idle = self.outputs.iter().take(markable);
        let idle = idle.filter(|output| output.outlet.is_empty() && is_home);
        let remark = idle
            .map(|output| output.marked_at + output.remark_after)
            .min();
        let kept = self
            .changed_since
            .filter(|_| may_keep)
            .map(|since| since + CHECKPOINT_AFTER);
        [quiet, remark, kept, self.reporter.due()]
            .into_iter()
            .flatten()
            .min()
    }

    pub(super) fn tick(&mut self) {
        let now = self.context.clock.monotonic();
        if self
            .quiet_since
            .is_some_and(|since| now >= since + QUIET_AFTER)
        {
            self.mark_quiet_outputs();
        }
        if self.reporter.due().is_some_and(|due| now >= due) {
            self.reporter.report_now();
        }
        let now_ms = self.context.clock.now_ms();
        let position = self.position;
        let Some(work) = &mut self.work else { return };
        let mut markers = Vec::new();
        let changelog = self.outputs.len() - usize::from(self.plan.keeps_state);
        let outputs = self.outputs.iter_mut().zip(&mut work.writers);
        for (number, (output, writer)) in outputs.enumerate() {
            let is_old = now >= output.marked_at + output.remark_after;
            let is_changelog = number == changelog;
            if !is_old || !output.outlet.is_empty() || is_changelog && self.held.is_some() {
                continue;
            }
            output.marked_at = now;
            let at = if is_changelog {
                writer.position()
            } else {
                position
            };
            markers.push((number, writer.mark(at, now_ms)));
        }
        for (output, marker) in markers {
            self.enqueue(output, marker);
        }
    }
}
