//! Tells the user on stderr of records that SmartModules failed on and that did not end the stream, and
//! of what holds it up.
//!
//! At once for the first, then each time that their number has doubled, and at the end: a stream
//! that fails on every record says so without drowning everything else.

use thalweg_client::{FailedRecords, FailureReport};

use crate::output::note;

/// What was told so far.
#[derive(Debug)]
pub(crate) struct FailureNotes {
    report: FailureReport,
    told: u64,
    told_of_hold_up: Option<String>,
}

impl FailureNotes {
    pub(crate) fn of(report: FailureReport) -> Self {
        Self {
            report,
            told: 0,
            told_of_hold_up: None,
        }
    }

    /// Waits until there is something to tell, and tells it. Cancel-safe.
    pub(crate) async fn tell_next(&mut self) {
        loop {
            self.report.changed().await;
            if self.tell_of_hold_up() {
                return;
            }
            let failed = self.report.so_far();
            if total(&failed) >= self.told.saturating_mul(2).max(1) {
                self.tell(&failed);
                return;
            }
        }
    }

    /// Tells what was not told yet.
    pub(crate) fn finish(&mut self) {
        let failed = self.report.so_far();
        if total(&failed) > self.told {
            self.tell(&failed);
        }
    }

    /// Once for each reason: where it comes and goes, the user knows already.
    fn tell_of_hold_up(&mut self) -> bool {
        let reason = self.report.held_up_by();
        if reason.is_none() || reason == self.told_of_hold_up {
            return false;
        }
        if let Some(reason) = &reason {
            note(&hold_up(reason));
        }
        self.told_of_hold_up = reason;
        true
    }

    fn tell(&mut self, failed: &[FailedRecords]) {
        self.told = total(failed);
        for one in failed {
            for line in lines(one) {
                note(&line);
            }
        }
    }
}

fn total(failed: &[FailedRecords]) -> u64 {
    let counts = failed.iter().map(|one| one.skipped + one.dead_lettered);
    counts.sum()
}

fn hold_up(reason: &str) -> String {
    format!("warning: nothing comes for now, trying again: {reason}")
}

/// What there is to say of one step.
pub(crate) fn lines(failed: &FailedRecords) -> Vec<String> {
    let line = |count: u64, became: &str| {
        let records = if count == 1 {
            "1 record was"
        } else {
            &format!("{count} records were")
        };
        format!(
            "{records} {became}: SmartModule `{}` failed, at last with: {}",
            failed.step, failed.last_message
        )
    };
    let kinds = [
        (failed.skipped, "skipped"),
        (failed.dead_lettered, "put into the dead-letter topic"),
    ];
    kinds
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, became)| line(count, became))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_skips_is_told_with_its_last_words() {
        let failed = FailedRecords {
            step: "late".to_owned(),
            skipped: 3,
            dead_lettered: 0,
            last_message: "no such column".to_owned(),
        };

        assert_eq!(
            lines(&failed),
            ["3 records were skipped: SmartModule `late` failed, at last with: no such column"]
        );
    }
}
