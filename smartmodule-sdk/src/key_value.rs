//! Keys and values that a module keeps between records.

use crate::{RecordData, Result};

/// What a module keeps between records, under keys of its own.
///
/// A transform gives it to its modules (`--key-value`). Each input partition has its own, which is as exact as the outputs are:
/// each record counts once, whoever is killed meanwhile. Another version of the module goes on with what is there. A
/// record that fails puts nothing.
///
/// ```
/// use thalweg_smartmodule::{Record, Result, key_value, smartmodule};
///
/// #[smartmodule(filter)]
/// pub fn changed(record: &Record) -> Result<bool> {
///     let Some(key) = &record.key else { return Ok(true) };
///     let before = key_value().get(key)?;
///     let is_other = before.as_ref() != Some(&record.value);
///     if is_other {
///         key_value().put(key, &record.value)?;
///     }
///     Ok(is_other)
/// }
/// let hot = |value: &str| Record::with_key("stove", value);
/// assert!(changed(&hot("on")).unwrap());
/// assert!(!changed(&hot("on")).unwrap());
/// assert!(changed(&hot("off")).unwrap());
/// ```
#[derive(Debug, Clone, Copy)]
pub struct KeyValue(());

/// What the module keeps: see [`KeyValue`].
#[must_use]
pub fn key_value() -> KeyValue {
    KeyValue(())
}

impl KeyValue {
    /// What was put under `key` last.
    ///
    /// # Errors
    /// When the module does not run in a transform that lets it keep anything.
    pub fn get(self, key: impl AsRef<[u8]>) -> Result<Option<RecordData>> {
        Ok(get(key.as_ref())?.map(RecordData::from))
    }

    /// Puts `value` under `key`.
    ///
    /// # Errors
    /// As [`KeyValue::get`]; and outside of a record's turn, as in `init`.
    pub fn put(self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        change(key.as_ref(), Some(value.as_ref().to_vec()))
    }

    /// Removes what is under `key`.
    ///
    /// # Errors
    /// As [`KeyValue::put`].
    pub fn remove(self, key: impl AsRef<[u8]>) -> Result<()> {
        change(key.as_ref(), None)
    }
}

#[cfg(target_family = "wasm")]
fn get(key: &[u8]) -> Result<Option<Vec<u8>>> {
    use thalweg_smartmodule_abi as abi;

    if let Some(value) = crate::current::changed(key) {
        return Ok(value);
    }
    let mut value = Vec::new();
    let found = crate::host::in_room(&mut value, |place| crate::host::key_value_get(key, place));
    if found == i64::from(abi::NO_KEY_VALUE) {
        return Err(nothing_granted());
    }
    Ok((found >= 0).then_some(value))
}

#[cfg(target_family = "wasm")]
fn change(key: &[u8], value: Option<Vec<u8>>) -> Result<()> {
    use thalweg_smartmodule_abi as abi;

    if crate::host::key_value_get(key, &mut []) == i64::from(abi::NO_KEY_VALUE) {
        return Err(nothing_granted());
    }
    crate::current::change(key, value)
}

#[cfg(target_family = "wasm")]
fn nothing_granted() -> crate::Error {
    crate::eyre!(
        "the module may keep nothing here: run it in a transform, deployed with `--key-value`"
    )
}

#[cfg(not(target_family = "wasm"))]
fn get(key: &[u8]) -> Result<Option<Vec<u8>>> {
    Ok(crate::testing::kept(key))
}

#[cfg(not(target_family = "wasm"))]
fn change(key: &[u8], value: Option<Vec<u8>>) -> Result<()> {
    crate::testing::keep(key, value);
    Ok(())
}
