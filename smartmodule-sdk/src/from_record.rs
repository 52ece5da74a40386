//! What a SmartModule's function may take in place of a record, or beside it.

use crate::record::Headers;
use crate::{Context, Record, Result};

/// A type that a function can take as an argument, read from the record at hand.
///
/// The macro fills in any number of such arguments, in any order. When one can't be read, the record
/// fails with the error.
///
/// | Argument | What it is |
/// |---|---|
/// | `&Record` | the record itself |
/// | `&str` | its value as text |
/// | `&[u8]` | its value's bytes; empty for a null |
/// | [`Headers`] | its headers |
/// | [`Json<T>`](crate::Json) | its value as a `T` of serde; `T` may borrow from the record |
/// | `Option` of one | `None` for a record whose value is null |
///
/// ```
/// use thalweg_smartmodule::{Headers, Result, smartmodule};
///
/// #[smartmodule(filter)]
/// pub fn traced_errors(line: &str, headers: Headers<'_>) -> Result<bool> {
///     Ok(line.contains("ERROR") && headers.get("trace").is_some())
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is nothing that a SmartModule's function can be given",
    label = "can't be read from a record",
    note = "take `&Record`, `&str`, `&[u8]`, `Headers`, `Json<T>` or an `Option` of one"
)]
pub trait FromRecord<'r>: Sized {
    /// Reads the argument.
    ///
    /// # Errors
    ///
    /// When the record is no such thing: the text is for the stream's user.
    fn from_record(record: &'r Record) -> Result<Self>;
}

impl<'r> FromRecord<'r> for &'r Record {
    #[inline]
    fn from_record(record: &'r Record) -> Result<Self> {
        Ok(record)
    }
}

impl<'r> FromRecord<'r> for &'r str {
    #[inline]
    fn from_record(record: &'r Record) -> Result<Self> {
        record.value.as_str().context("the value is no text")
    }
}

impl<'r> FromRecord<'r> for &'r [u8] {
    #[inline]
    fn from_record(record: &'r Record) -> Result<Self> {
        Ok(record.value.as_bytes())
    }
}

impl<'r> FromRecord<'r> for Headers<'r> {
    #[inline]
    fn from_record(record: &'r Record) -> Result<Self> {
        Ok(record.headers())
    }
}

impl<'r, T: FromRecord<'r>> FromRecord<'r> for Option<T> {
    #[inline]
    fn from_record(record: &'r Record) -> Result<Self> {
        if record.value.is_null() {
            return Ok(None);
        }
        T::from_record(record).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RecordData;

    #[test]
    fn each_argument_is_read_from_the_record() {
        let record = Record::new("late").with_header("trace", "1");

        assert_eq!(<&str>::from_record(&record).unwrap(), "late");
        assert_eq!(<&[u8]>::from_record(&record).unwrap(), b"late");
        assert_eq!(<&Record>::from_record(&record).unwrap().offset(), 0);
        let headers = Headers::from_record(&record).unwrap();
        assert_eq!(headers.get("trace"), Some(&b"1"[..]));
    }

    #[test]
    fn a_null_is_none_and_what_is_no_text_an_error() {
        let null = Record::new(RecordData::null());
        assert_eq!(Option::<&str>::from_record(&null).unwrap(), None);

        let error = <&str>::from_record(&Record::new(vec![0xff])).unwrap_err();
        assert!(
            error.to_string().starts_with("the value is no text: "),
            "{error}"
        );
    }
}
