//! The number of this process's life, larger than that of every life before it.

use std::io;
use std::path::Path;

use thalweg_runtime::Clock;
use thalweg_types::Incarnation;

use crate::atomic_file::write_atomically_blocking;

const FILE_NAME: &str = "incarnation";

/// Takes a fresh incarnation and notes it in `data_dir`. The wall clock alone could go back, and
/// the file alone could be lost with a disk: the larger of the two counts.
pub(crate) fn begin(data_dir: &Path, clock: &dyn Clock) -> io::Result<Incarnation> {
    let path = data_dir.join(FILE_NAME);
    let last = match std::fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().unwrap_or(0),
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    let now_ms = u64::try_from(clock.now_ms()).unwrap_or(0);
    let incarnation = Incarnation(last).next().0.max(now_ms);
    write_atomically_blocking(&path, incarnation.to_string().as_bytes())?;
    Ok(Incarnation(incarnation))
}

#[cfg(test)]
mod tests {
    use thalweg_runtime::ManualClock;

    use super::*;

    #[test]
    fn each_life_has_a_larger_number_also_when_the_clock_goes_back() {
        let dir = tempfile::tempdir().unwrap();

        let first = begin(dir.path(), &*ManualClock::at(1000)).unwrap();
        let second = begin(dir.path(), &*ManualClock::at(10)).unwrap();
        let third = begin(dir.path(), &*ManualClock::at(5000)).unwrap();

        assert_eq!(
            (first, second, third),
            (Incarnation(1000), Incarnation(1001), Incarnation(5000))
        );
    }
}
