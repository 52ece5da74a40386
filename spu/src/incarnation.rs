//! The number of this process's life, larger than that of every life before it, and whether the
//! life before ended in good order.

use std::io;
use std::path::Path;

use thalweg_runtime::Clock;
use thalweg_types::Incarnation;

use crate::disk_reserve::write_with_reserve;

const FILE_NAME: &str = "incarnation";
/// Holds the number of the life that ended in good order.
const ENDED_FILE_NAME: &str = "ended-well";

/// The life that begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Life {
    pub(crate) incarnation: Incarnation,
    /// Whether the one before closed its logs; true where there was none.
    pub(crate) last_ended_well: bool,
}

/// Takes a fresh incarnation and notes it in `data_dir`. The wall clock alone could go back, and
/// the file alone could be lost with a disk: the larger of the two counts.
pub(crate) fn begin(data_dir: &Path, clock: &dyn Clock) -> io::Result<Life> {
    let last = number_in(&data_dir.join(FILE_NAME))?;
    let last_ended_well = last == number_in(&data_dir.join(ENDED_FILE_NAME))?;
    let now_ms = u64::try_from(clock.now_ms()).unwrap_or(0);
    let incarnation = Incarnation(last.unwrap_or(0)).next().0.max(now_ms);
    write_with_reserve(data_dir, FILE_NAME, incarnation.to_string().as_bytes())?;
    Ok(Life {
        incarnation: Incarnation(incarnation),
        last_ended_well,
    })
}

/// Notes that a life has ended in good order: every log is closed.
pub(crate) fn end_well(data_dir: &Path, incarnation: Incarnation) -> io::Result<()> {
    write_with_reserve(
        data_dir,
        ENDED_FILE_NAME,
        incarnation.to_string().as_bytes(),
    )
}

/// `None` where the file does not exist; what can't be read is as good as 0, which is no life.
fn number_in(path: &Path) -> io::Result<Option<u64>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.trim().parse().unwrap_or(0))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use thalweg_runtime::ManualClock;

    use super::*;

    #[test]
    fn each_life_has_a_larger_number_also_when_the_clock_goes_back() {
        let dir = tempfile::tempdir().unwrap();

        let lives = [1000, 10, 5000].map(|now_ms| {
            let life = begin(dir.path(), &*ManualClock::at(now_ms)).unwrap();
            life.incarnation
        });

        assert_eq!(lives, [1000, 1001, 5000].map(Incarnation));
    }

    #[test]
    fn a_life_ended_well_only_if_it_said_so_itself() {
        let dir = tempfile::tempdir().unwrap();
        let begin = || begin(dir.path(), &*ManualClock::at(1000)).unwrap();

        let first = begin();
        assert!(first.last_ended_well, "there was none");
        end_well(dir.path(), first.incarnation).unwrap();
        assert!(begin().last_ended_well);
        assert!(!begin().last_ended_well, "the second was killed");
    }
}
