//! The record that a module works on, as what it asks of its host needs it: calls are known by their record, and what is
//! kept counts once the record is through.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

#[cfg(target_family = "wasm")]
use crate::{Result, bail};

/// In place of an offset where there is no record: in `init`, say.
const NO_RECORD: i64 = -1;

/// Keys with their new values.
type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

thread_local! {
    static CURRENT: Current = const {
        Current {
            offset: Cell::new(NO_RECORD),
            calls: Cell::new(0),
            waits: Cell::new(false),
            has_changes: Cell::new(false),
            changes: RefCell::new(Changes::new()),
        }
    };
}

struct Current {
    offset: Cell<i64>,
    /// How many calls were made for it.
    calls: Cell<u32>,
    /// Whether one of them has no answer yet.
    waits: Cell<bool>,
    has_changes: Cell<bool>,
    changes: RefCell<Changes>,
}

/// What became of a record.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// What its function returned counts.
    Counts,
    /// It comes again, whatever its function returned.
    Waits,
}

/// A record's turn begins.
#[inline]
pub(crate) fn begin(offset: i64) {
    CURRENT.with(|current| {
        current.offset.set(offset);
        current.calls.set(0);
    });
}

/// It ends. What it put is the host's now, if `is_ok`.
#[inline]
pub(crate) fn end(is_ok: bool) -> Ended {
    CURRENT.with(|current| {
        let offset = current.offset.replace(NO_RECORD);
        let waits = current.waits.replace(false);
        if current.has_changes.replace(false) {
            let changes = current.changes.take();
            if is_ok && !waits {
                hand_over(offset, &changes);
            }
        }
        if waits { Ended::Waits } else { Ended::Counts }
    })
}

#[cfg(target_family = "wasm")]
#[cold]
fn hand_over(offset: i64, changes: &Changes) {
    use thalweg_smartmodule_abi as abi;

    let mut entries = Vec::new();
    for (key, value) in changes {
        let value_bytes = value
            .as_ref()
            .map_or(abi::REMOVED, |value| value.len() as u32);
        entries.extend_from_slice(&(key.len() as u32).to_le_bytes());
        entries.extend_from_slice(&value_bytes.to_le_bytes());
        entries.extend_from_slice(key);
        entries.extend_from_slice(value.as_deref().unwrap_or_default());
    }
    // The record's output is written already, so only a trap makes it one that failed.
    match crate::host::key_value_put(offset, &entries) {
        abi::KEY_VALUE_PUT => {}
        abi::KEY_VALUE_FULL => panic!(
            "there is no room for what the record keeps: put less, or give the SPU more memory with `--smartmodule-shared-memory-bytes`"
        ),
        _ => panic!("the host takes nothing of what the record keeps: a record may put 4 MiB"),
    }
}

/// Native tests put directly.
#[cfg(not(target_family = "wasm"))]
fn hand_over(_: i64, _: &Changes) {}

/// The record's offset, and how many calls it made before.
#[cfg(target_family = "wasm")]
pub(crate) fn next_call() -> (i64, u32) {
    CURRENT.with(|current| {
        (
            current.offset.get(),
            current.calls.replace(current.calls.get() + 1),
        )
    })
}

/// Has the record come again.
#[cfg(target_family = "wasm")]
pub(crate) fn wait() {
    CURRENT.with(|current| current.waits.set(true));
}

/// What the record has put under `key`, if it has.
#[cfg(target_family = "wasm")]
pub(crate) fn changed(key: &[u8]) -> Option<Option<Vec<u8>>> {
    CURRENT.with(|current| current.changes.borrow().get(key).cloned())
}

/// Notes what the record puts.
#[cfg(target_family = "wasm")]
pub(crate) fn change(key: &[u8], value: Option<Vec<u8>>) -> Result<()> {
    CURRENT.with(|current| {
        if current.offset.get() == NO_RECORD {
            bail!("a module keeps what records bring: put it in the function that is given them");
        }
        current.has_changes.set(true);
        current.changes.borrow_mut().insert(key.to_vec(), value);
        Ok(())
    })
}
