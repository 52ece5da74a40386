//! Tables: topics that a transform looks keys up in.

use std::borrow::Cow;

use crate::{RecordData, Result, bail};

/// A compacted topic, as a map from the keys of its records to their latest values.
///
/// The transform says which it has (`--table airlines`). A look-up sees all that was committed when the transform
/// began to run, and what is written later soon after. Keys and values are what the topic's producers wrote.
///
/// ```
/// use thalweg_smartmodule::{Record, Result, smartmodule, table};
///
/// #[smartmodule(map)]
/// pub fn named(record: &Record) -> Result<String> {
///     let carrier = record.value.as_str()?;
///     let airline = table("airlines").get(carrier)?;
///     Ok(match airline {
///         Some(airline) => format!("{carrier}: {}", airline.as_str()?),
///         None => format!("{carrier}: unknown"),
///     })
/// }
/// # use thalweg_smartmodule::testing;
/// testing::set_table("airlines", [("UA", "United")]);
/// assert_eq!(named(&Record::new("UA")).unwrap(), "UA: United");
/// assert_eq!(named(&Record::new("XX")).unwrap(), "XX: unknown");
/// ```
#[derive(Debug, Clone)]
pub struct Table {
    name: Cow<'static, str>,
}

/// The table of this name: see [`Table`].
#[must_use]
pub fn table(name: impl Into<Cow<'static, str>>) -> Table {
    Table { name: name.into() }
}

impl Table {
    /// What the table has under `key`.
    ///
    /// # Errors
    /// When the module does not run in a transform that has such a table.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<RecordData>> {
        match look_up(&self.name, key.as_ref()) {
            Some(found) => Ok(found.map(RecordData::from)),
            None => bail!(
                "there is no table `{}` here: run the module in a transform, deployed with `--table {}`",
                self.name,
                self.name
            ),
        }
    }
}

/// `None` where there is no such table.
#[cfg(target_family = "wasm")]
fn look_up(name: &str, key: &[u8]) -> Option<Option<Vec<u8>>> {
    use thalweg_smartmodule_abi as abi;

    let mut value = Vec::new();
    let found = crate::host::in_room(&mut value, |place| crate::host::table_get(name, key, place));
    (found != abi::NO_SUCH_TABLE).then(|| (found >= 0).then_some(value))
}

#[cfg(not(target_family = "wasm"))]
fn look_up(name: &str, key: &[u8]) -> Option<Option<Vec<u8>>> {
    crate::testing::look_up(name, key)
}
