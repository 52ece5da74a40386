//! The error that a SmartModule answers with: a text for the stream's user.

use std::error::Error as StdError;
use std::fmt;

/// What a SmartModule's functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Any error, as the text that the stream's user reads.
///
/// Every [`std::error::Error`] turns into one with `?`, and [`eyre!`](crate::eyre!) makes one from
/// a text.
///
/// ```
/// use thalweg_smartmodule::{Error, Result};
///
/// fn number(text: &str) -> Result<i64> {
///     Ok(text.parse::<i64>()?)
/// }
///
/// let error: Error = number("x").unwrap_err().context("column 3");
/// assert_eq!(error.to_string(), "column 3: invalid digit found in string");
/// ```
pub struct Error {
    message: String,
}

impl Error {
    /// An error with this text.
    pub fn msg(message: impl fmt::Display) -> Self {
        Self {
            message: message.to_string(),
        }
    }

    /// This error with `context` in front of its text.
    #[must_use]
    pub fn context(self, context: impl fmt::Display) -> Self {
        Self {
            message: format!("{context}: {}", self.message),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

// `Error` itself is not a `std::error::Error`, or this would overlap with `From<T> for T`.
impl<E: StdError> From<E> for Error {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            message = format!("{message}: {cause}");
            source = cause.source();
        }
        Self { message }
    }
}

/// Puts a text in front of an error, or makes an error of a missing value.
///
/// ```
/// use thalweg_smartmodule::{Context, Result};
///
/// fn first_column(line: &str) -> Result<&str> {
///     line.split(',').next().filter(|column| !column.is_empty()).context("the line is empty")
/// }
///
/// assert_eq!(first_column("").unwrap_err().to_string(), "the line is empty");
/// ```
pub trait Context<T> {
    /// With `context` in front.
    ///
    /// # Errors
    ///
    /// When `self` holds no value.
    fn context(self, context: impl fmt::Display) -> Result<T>;

    /// With what `context` makes in front.
    ///
    /// # Errors
    ///
    /// When `self` holds no value.
    fn with_context<C: fmt::Display>(self, context: impl FnOnce() -> C) -> Result<T>;

    /// The same as [`context`](Self::context), as `eyre` calls it.
    ///
    /// # Errors
    ///
    /// When `self` holds no value.
    fn wrap_err(self, context: impl fmt::Display) -> Result<T>
    where
        Self: Sized,
    {
        self.context(context)
    }

    /// The same as [`with_context`](Self::with_context), as `eyre` calls it.
    ///
    /// # Errors
    ///
    /// When `self` holds no value.
    fn wrap_err_with<C: fmt::Display>(self, context: impl FnOnce() -> C) -> Result<T>
    where
        Self: Sized,
    {
        self.with_context(context)
    }
}

impl<T, E: Into<Error>> Context<T> for std::result::Result<T, E> {
    fn context(self, context: impl fmt::Display) -> Result<T> {
        self.with_context(|| context)
    }

    fn with_context<C: fmt::Display>(self, context: impl FnOnce() -> C) -> Result<T> {
        self.map_err(|error| error.into().context(context()))
    }
}

impl<T> Context<T> for Option<T> {
    fn context(self, context: impl fmt::Display) -> Result<T> {
        self.with_context(|| context)
    }

    fn with_context<C: fmt::Display>(self, context: impl FnOnce() -> C) -> Result<T> {
        self.ok_or_else(|| Error::msg(context()))
    }
}

/// Makes an [`Error`] of a text, as `format!` would write it.
///
/// ```
/// use thalweg_smartmodule::eyre;
///
/// assert_eq!(eyre!("no column {}", 3).to_string(), "no column 3");
/// ```
#[macro_export]
macro_rules! eyre {
    ($($text:tt)*) => {
        $crate::Error::msg(::std::format!($($text)*))
    };
}

/// Returns the error that [`eyre!`](crate::eyre!) makes.
///
/// ```
/// use thalweg_smartmodule::{Result, bail};
///
/// fn refuse(word: &str) -> Result<()> {
///     bail!("`{word}` is refused")
/// }
///
/// assert_eq!(refuse("x").unwrap_err().to_string(), "`x` is refused");
/// ```
#[macro_export]
macro_rules! bail {
    ($($text:tt)*) => {
        return ::std::result::Result::Err($crate::eyre!($($text)*))
    };
}

/// Returns the error that [`eyre!`](crate::eyre!) makes, unless a condition holds.
///
/// ```
/// use thalweg_smartmodule::{Result, ensure};
///
/// fn half(number: i64) -> Result<i64> {
///     ensure!(number % 2 == 0, "{number} is odd");
///     Ok(number / 2)
/// }
///
/// assert_eq!(half(4).unwrap(), 2);
/// assert_eq!(half(5).unwrap_err().to_string(), "5 is odd");
/// ```
#[macro_export]
macro_rules! ensure {
    ($condition:expr, $($text:tt)*) => {
        if !$condition {
            $crate::bail!($($text)*);
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standard_error_becomes_its_text() {
        fn parse(text: &str) -> Result<i32> {
            Ok(text.parse::<i32>()?)
        }

        assert_eq!(
            parse("x").unwrap_err().to_string(),
            "invalid digit found in string"
        );
        assert_eq!(
            parse("x").context("column 4").unwrap_err().to_string(),
            "column 4: invalid digit found in string"
        );
    }

    #[test]
    fn ensure_and_bail_return_the_text() {
        fn check(count: usize) -> Result<()> {
            ensure!(count < 10, "{count} is too many");
            if count == 9 {
                bail!("nine");
            }
            Ok(())
        }

        assert!(check(1).is_ok());
        assert_eq!(check(9).unwrap_err().to_string(), "nine");
        assert_eq!(check(10).unwrap_err().to_string(), "10 is too many");
    }
}
