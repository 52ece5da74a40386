//! What an aggregate carries from record to record.

use crate::{RecordData, Result, ToData};

/// The accumulator of an aggregate: [`RecordData`], or [`Json<T>`](crate::Json) for any `T` of serde
/// that has a default.
///
/// It is read once for a batch and handed from record to record as it is; its bytes are written
/// after each record, as they are the record's output.
///
/// ```
/// # #[cfg(feature = "json")] {
/// use serde::{Deserialize, Serialize};
/// use thalweg_smartmodule::{Json, Result, smartmodule};
///
/// #[derive(Default, Serialize, Deserialize)]
/// pub struct Lines {
///     count: u64,
///     longest: usize,
/// }
///
/// #[smartmodule(aggregate)]
/// pub fn lines(Json(mut lines): Json<Lines>, line: &str) -> Result<Json<Lines>> {
///     lines.count += 1;
///     lines.longest = lines.longest.max(line.len());
///     Ok(Json(lines))
/// }
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no accumulator",
    note = "take and return `RecordData`, or `Json<T>` where `T` is `Default + Serialize + DeserializeOwned`"
)]
pub trait Accumulator: ToData + Default {
    /// Reads what an earlier record's output holds. Empty bytes are what a stream begins with, and
    /// make the default.
    ///
    /// # Errors
    ///
    /// When the bytes are no such accumulator.
    fn from_bytes(bytes: &[u8]) -> Result<Self>;
}

impl Accumulator for RecordData {
    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Ok(Self::from(bytes))
    }
}
