//! JSON in and out, typed by serde.

use std::borrow::Cow;
use std::fmt;
use std::ops::{Deref, DerefMut};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::json_place::place;
use crate::{Accumulator, Error, FromRecord, ParamValue, Record, Result, ToData};

/// A value as JSON: as an argument it is read from the record, as an output it is written.
///
/// It is an argument of any kind's function, its key or value or both together, an aggregate's
/// accumulator, and a parameter's type. What does not parse fails the record, with line, column and
/// field in the error.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use thalweg_smartmodule::{Json, Result, smartmodule};
///
/// #[derive(Deserialize)]
/// pub struct Flight<'a> {
///     carrier: &'a str,
///     delay: i64,
/// }
///
/// #[derive(Serialize)]
/// pub struct Late<'a> {
///     carrier: &'a str,
///     hours: i64,
/// }
///
/// #[smartmodule(filter_map)]
/// pub fn late<'a>(Json(flight): Json<Flight<'a>>) -> Result<Option<Json<Late<'a>>>> {
///     let Flight { carrier, delay } = flight;
///     Ok((delay >= 60).then(|| Json(Late { carrier, hours: delay / 60 })))
/// }
/// # let flight = Json::parse(br#"{"carrier":"AA","delay":125}"#).unwrap();
/// # assert_eq!(late(flight).unwrap().unwrap().hours, 2);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Json<T>(pub T);

impl<'a, T: Deserialize<'a>> Json<T> {
    /// Reads bytes, such as a record's key or a header.
    ///
    /// ```
    /// use thalweg_smartmodule::Json;
    ///
    /// let error = Json::<Vec<u32>>::parse(b"[1, true]").unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "invalid type: boolean `true`, expected u32 at line 1 column 8, in `[1]`"
    /// );
    /// ```
    ///
    /// # Errors
    ///
    /// Says where the bytes are not what `T` is read from.
    pub fn parse(bytes: &'a [u8]) -> Result<Self> {
        serde_json::from_slice(bytes)
            .map(Self)
            .map_err(|error| explain(bytes, &error))
    }
}

/// The error with the field that it is about: serde knows the position alone.
#[cold]
fn explain(bytes: &[u8], error: &serde_json::Error) -> Error {
    let place = place(bytes, error.line(), error.column());
    if place.is_empty() {
        return Error::msg(error);
    }
    Error::msg(format_args!("{error}, in `{place}`"))
}

impl<'r, T: Deserialize<'r>> FromRecord<'r> for Json<T> {
    fn from_record(record: &'r Record) -> Result<Self> {
        Self::parse(record.value.as_bytes())
            .map_err(|error| error.context("the value is not the JSON expected"))
    }
}

impl<T: Serialize> ToData for Json<T> {
    fn to_data(&self) -> Result<Option<Cow<'_, [u8]>>> {
        match serde_json::to_vec(&self.0) {
            Ok(bytes) => Ok(Some(Cow::Owned(bytes))),
            Err(error) => Err(Error::from(error).context("the output can't be written as JSON")),
        }
    }
}

impl<T: Default + Serialize + DeserializeOwned> Accumulator for Json<T> {
    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        Self::parse(bytes)
            .map_err(|error| error.context("the accumulator is not the JSON expected"))
    }
}

impl<T: DeserializeOwned> ParamValue for Json<T> {
    fn from_param(text: &str) -> std::result::Result<Self, String> {
        Self::parse(text.as_bytes()).map_err(|error| error.to_string())
    }
}

impl<T> Deref for Json<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Json<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T> From<T> for Json<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

impl<T: Serialize> fmt::Display for Json<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = serde_json::to_string(&self.0).map_err(|_| fmt::Error)?;
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RecordData;
    use std::collections::BTreeMap;

    #[derive(Debug, Deserialize)]
    struct Order<'a> {
        #[serde(rename = "id")]
        _id: u64,
        customer: &'a str,
        #[serde(borrow, rename = "lines")]
        _lines: Vec<Line<'a>>,
    }

    #[derive(Debug, Deserialize)]
    struct Line<'a> {
        #[serde(rename = "sku")]
        _sku: &'a str,
        #[serde(rename = "count")]
        _count: u32,
    }

    #[test]
    fn a_value_is_borrowed_from_the_record() {
        let record = Record::new(r#"{"id":7,"customer":"Ada","lines":[]}"#);

        let Json(order) = Json::<Order<'_>>::from_record(&record).unwrap();

        assert_eq!(order.customer, "Ada");
    }

    #[test]
    fn an_error_names_line_column_and_field() {
        for (json, expected) in [
            (
                "{\"id\":7,\n\"customer\":\"Ada\",\"lines\":[{\"sku\":\"a\",\"count\":\"2\"}]}",
                "invalid type: string \"2\", expected u32 at line 2 column 48, in `lines[0].count`",
            ),
            (
                r#"{"id":7,"customer":"Ada","lines":[{"sku":"a","count":1},{"sku":"b"}]}"#,
                "missing field `count` at line 1 column 67, in `lines[1]`",
            ),
            (
                r#"{"id":-1}"#,
                "invalid value: integer `-1`, expected u64 at line 1 column 8, in `id`",
            ),
            ("", "EOF while parsing a value at line 1 column 0"),
        ] {
            let error = Json::<Order<'_>>::from_record(&Record::new(json)).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("the value is not the JSON expected: {expected}")
            );
        }
    }

    #[test]
    fn what_json_can_not_say_is_an_error() {
        let by_pair = Json(BTreeMap::from([((1, 2), 3)]));

        assert_eq!(
            by_pair.to_data().unwrap_err().to_string(),
            "the output can't be written as JSON: key must be a string"
        );
    }

    #[test]
    fn an_accumulator_begins_with_the_default() {
        let empty = Json::<Vec<u32>>::from_bytes(RecordData::null().as_bytes()).unwrap();
        assert_eq!(empty, Json(vec![]));

        let error = Json::<Vec<u32>>::from_bytes(b"{}").unwrap_err().to_string();
        assert!(
            error.starts_with("the accumulator is not the JSON expected: "),
            "{error}"
        );
    }
}
