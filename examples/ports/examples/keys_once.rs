//! Each key once, also across the stream's start: a filter that remembers the last
//! `--param count=..` keys, and `look_back`, which is given the records from before the start.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, OnceLock};

use thalweg_smartmodule::dataplane::smartmodule::{SmartModuleExtraParams, SmartModuleInitError};
use thalweg_smartmodule::{Result, SmartModuleRecord, eyre, smartmodule};

static SEEN: OnceLock<Mutex<Seen>> = OnceLock::new();

/// The last keys, at most so many.
struct Seen {
    keys: BTreeSet<Vec<u8>>,
    in_order: VecDeque<Vec<u8>>,
    count: usize,
}

impl Seen {
    fn insert(&mut self, key: &[u8]) -> bool {
        if !self.keys.insert(key.to_vec()) {
            return false;
        }
        self.in_order.push_back(key.to_vec());
        if self.in_order.len() > self.count
            && let Some(oldest) = self.in_order.pop_front()
        {
            self.keys.remove(&oldest);
        }
        true
    }
}

#[smartmodule(init)]
fn init(params: SmartModuleExtraParams) -> Result<()> {
    let count = params
        .get("count")
        .ok_or_else(|| SmartModuleInitError::MissingParam("count".to_string()))?
        .parse()?;
    let seen = Seen {
        keys: BTreeSet::new(),
        in_order: VecDeque::new(),
        count,
    };
    SEEN.set(Mutex::new(seen))
        .map_err(|_| eyre!("failed setting state"))
}

#[smartmodule(look_back)]
pub fn look_back(record: &SmartModuleRecord) -> Result<()> {
    is_new(record).map(|_| ())
}

#[smartmodule(filter)]
pub fn filter(record: &SmartModuleRecord) -> Result<bool> {
    is_new(record)
}

/// By the key, or by the value where there is none.
fn is_new(record: &SmartModuleRecord) -> Result<bool> {
    let key = record.key.as_ref().unwrap_or(&record.value);
    let seen = SEEN.get().ok_or_else(|| eyre!("`init` has not run"))?;
    let mut seen = seen.lock().map_err(|_| eyre!("the state is poisoned"))?;
    Ok(seen.insert(key.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_smartmodule::testing::harness;

    #[test]
    fn a_key_passes_once_until_it_is_forgotten() {
        let record = |key: &str| SmartModuleRecord::with_key(key, "v");

        let kept = harness!(init, look_back, filter)
            .param("count", "3")
            .look_back(["a", "b"].map(record))
            .run(["b", "c", "c", "d", "a"].map(record))
            .unwrap();

        // With `d` the oldest, `a`, is forgotten.
        let keys: Vec<_> = kept
            .iter()
            .map(|r| r.key.as_ref().unwrap().to_string())
            .collect();
        assert_eq!(keys, ["c", "d", "a"]);
    }
}
