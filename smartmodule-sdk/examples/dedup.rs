//! A filter that drops values which it has seen before, also those of before the stream's start
//! where it is shown them.

use std::cell::RefCell;
use std::collections::HashSet;

use thalweg_smartmodule::{Record, Result, ensure, smartmodule};

thread_local! {
    static SEEN: RefCell<HashSet<Vec<u8>>> = RefCell::default();
}

#[smartmodule(look_back)]
fn look_back(record: &Record) -> Result<()> {
    ensure!(
        !record.value.is_null(),
        "a tombstone has no value to remember"
    );
    remember(record);
    Ok(())
}

#[smartmodule(filter)]
fn dedup(record: &Record) -> Result<bool> {
    Ok(remember(record))
}

/// Whether the record's value is new.
fn remember(record: &Record) -> bool {
    SEEN.with_borrow_mut(|seen| seen.insert(record.value.as_bytes().to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_passes_once() {
        look_back(&Record::new("old")).unwrap();

        assert!(!dedup(&Record::new("old")).unwrap());
        assert!(dedup(&Record::new("new")).unwrap());
        assert!(!dedup(&Record::new("new")).unwrap());
    }
}
