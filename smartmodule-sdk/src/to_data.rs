//! What can be a key or a value of an output.

use std::borrow::Cow;

use crate::{RecordData, Result};

/// A key or a value that a SmartModule gives: [`RecordData`], text, bytes,
/// [`Json<T>`](crate::Json), or an `Option` of one, whose `None` is a null.
///
/// ```
/// use thalweg_smartmodule::{Result, smartmodule, testing::harness};
///
/// #[smartmodule(map)]
/// pub fn pair<'a>(line: &'a str) -> Result<(&'a str, Option<String>)> {
///     let (name, rest) = line.split_once('=').unwrap_or((line, ""));
///     Ok((name, (!rest.is_empty()).then(|| rest.to_uppercase())))
/// }
///
/// let out = harness!(pair).run(["a=b", "a"]).unwrap();
/// assert_eq!(out[0].value.as_str(), Ok("B"));
/// assert!(out[1].value.is_null());
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is neither a key nor a value of a record",
    note = "give `RecordData`, `String`, `Vec<u8>`, `Json<T>` or an `Option` of one"
)]
pub trait ToData {
    /// The bytes; `None` for a null.
    ///
    /// # Errors
    ///
    /// When it has no bytes, such as a `Json` of a map whose keys are no texts.
    fn to_data(&self) -> Result<Option<Cow<'_, [u8]>>>;
}

impl ToData for RecordData {
    #[inline]
    fn to_data(&self) -> Result<Option<Cow<'_, [u8]>>> {
        Ok(self.as_option().map(Cow::Borrowed))
    }
}

impl<T: ToData> ToData for Option<T> {
    #[inline]
    fn to_data(&self) -> Result<Option<Cow<'_, [u8]>>> {
        self.as_ref().map_or(Ok(None), ToData::to_data)
    }
}

macro_rules! data_of_bytes {
    ($($bytes:ty),*) => {$(
        impl ToData for $bytes {
            #[inline]
            fn to_data(&self) -> Result<Option<Cow<'_, [u8]>>> {
                Ok(Some(Cow::Borrowed(self.as_ref())))
            }
        }
    )*};
}
data_of_bytes!(String, &str, Vec<u8>, &[u8]);
