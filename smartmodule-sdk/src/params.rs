//! The parameters of a SmartModule, untyped and typed.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use thalweg_smartmodule_abi::{MalformedParams, params_iter};

/// The parameters that a stream's user gave, by name.
///
/// ```
/// use thalweg_smartmodule::{Result, SmartModuleExtraParams, SmartModuleInitError};
///
/// fn minutes(params: &SmartModuleExtraParams) -> Result<i64> {
///     let minutes = params
///         .get("minutes")
///         .ok_or_else(|| SmartModuleInitError::MissingParam("minutes".to_owned()))?;
///     Ok(minutes.parse()?)
/// }
///
/// assert_eq!(minutes(&SmartModuleExtraParams::from([("minutes", "60")])).unwrap(), 60);
/// let error = minutes(&SmartModuleExtraParams::default()).unwrap_err();
/// assert_eq!(error.to_string(), "parameter `minutes` is missing");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SmartModuleExtraParams {
    by_name: BTreeMap<String, String>,
}

impl SmartModuleExtraParams {
    /// The value of a parameter, if it was given.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&String> {
        self.by_name.get(name)
    }

    /// Adds a parameter, for tests.
    pub fn insert(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.by_name.insert(name.into(), value.into());
    }

    /// Names and values, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.by_name.iter().map(|(k, v)| (k.as_str(), v.as_str()))
    }

    pub(crate) fn decode(input: &[u8]) -> Result<Self, MalformedParams> {
        params_iter(input)
            .map(|param| param.map(|(name, value)| (name.to_owned(), value.to_owned())))
            .collect::<Result<_, _>>()
            .map(|by_name| Self { by_name })
    }
}

impl From<BTreeMap<String, String>> for SmartModuleExtraParams {
    fn from(by_name: BTreeMap<String, String>) -> Self {
        Self { by_name }
    }
}

impl<const N: usize> From<[(&str, &str); N]> for SmartModuleExtraParams {
    fn from(params: [(&str, &str); N]) -> Self {
        let owned = params.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self {
            by_name: owned.into(),
        }
    }
}

/// A type that `init` can take in place of untyped parameters.
///
/// Derived for a struct: each field is a parameter of its name, required unless it is an
/// `Option` or has a default.
///
/// ```
/// use thalweg_smartmodule::{SmartModuleExtraParams, SmartOpt};
///
/// #[derive(SmartOpt)]
/// struct Threshold {
///     column: String,
///     #[opt(default = 60)]
///     minutes: i64,
///     note: Option<String>,
/// }
///
/// let params = SmartModuleExtraParams::from([("column", "dep_delay")]);
/// let threshold = Threshold::from_params(&params).unwrap();
/// assert_eq!((threshold.minutes, threshold.note), (60, None));
/// assert_eq!(threshold.column, "dep_delay");
/// ```
///
/// With `#[opt(json)]` a parameter is JSON of any type of serde, and `#[opt(name = "..")]` gives it
/// another name than the field's:
///
/// ```
/// # #[cfg(feature = "json")] {
/// use std::collections::BTreeMap;
/// use thalweg_smartmodule::{SmartModuleExtraParams, SmartOpt};
///
/// #[derive(SmartOpt)]
/// struct Renames {
///     #[opt(json, name = "rename-fields")]
///     by_name: BTreeMap<String, String>,
/// }
///
/// let given = SmartModuleExtraParams::from([("rename-fields", r#"{"dep_delay":"delay"}"#)]);
/// assert_eq!(Renames::from_params(&given).unwrap().by_name["dep_delay"], "delay");
///
/// let wrong = SmartModuleExtraParams::from([("rename-fields", r#"{"dep_delay":1}"#)]);
/// let error = Renames::from_params(&wrong).err().unwrap().to_string();
/// assert!(error.ends_with("expected a string at line 1 column 14, in `dep_delay`"), "{error}");
/// # }
/// ```
pub trait SmartOpt: Sized {
    /// Reads the type from the parameters given.
    ///
    /// # Errors
    ///
    /// Names the parameter that is missing, unknown, or of another type.
    fn from_params(params: &SmartModuleExtraParams) -> Result<Self, ParamError>;
}

impl SmartOpt for SmartModuleExtraParams {
    fn from_params(params: &SmartModuleExtraParams) -> Result<Self, ParamError> {
        Ok(params.clone())
    }
}

/// Why parameters do not make a [`SmartOpt`] type.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParamError {
    /// A required parameter was not given.
    Missing {
        /// The parameter.
        name: String,
    },
    /// A parameter was given that the module does not know.
    Unknown {
        /// The parameter.
        name: String,
        /// The parameters that it knows.
        known: &'static [&'static str],
    },
    /// A parameter's value does not parse.
    Invalid {
        /// The parameter.
        name: String,
        /// Its value.
        value: String,
        /// Why not.
        reason: String,
    },
}

impl fmt::Display for ParamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { name } => write!(f, "parameter `{name}` is missing"),
            Self::Unknown { name, known } => {
                write!(f, "parameter `{name}` is not one of {}", known.join(", "))
            }
            Self::Invalid {
                name,
                value,
                reason,
            } => write!(
                f,
                "parameter `{name}` has the invalid value `{value}`: {reason}"
            ),
        }
    }
}

impl std::error::Error for ParamError {}

/// A type that a parameter's text can be read as: everything with [`FromStr`], enums of your own
/// included, and [`Json<T>`](crate::Json).
///
/// ```
/// use thalweg_smartmodule::{SmartModuleExtraParams, SmartOpt};
///
/// #[derive(Debug, PartialEq)]
/// enum Unit {
///     Minutes,
///     Hours,
/// }
///
/// impl std::str::FromStr for Unit {
///     type Err = String;
///
///     fn from_str(text: &str) -> Result<Self, String> {
///         match text {
///             "minutes" => Ok(Self::Minutes),
///             "hours" => Ok(Self::Hours),
///             _ => Err("write minutes or hours".to_owned()),
///         }
///     }
/// }
///
/// #[derive(SmartOpt)]
/// struct Options {
///     #[opt(default = Unit::Minutes)]
///     unit: Unit,
/// }
///
/// let params = SmartModuleExtraParams::from([("unit", "hours")]);
/// assert_eq!(Options::from_params(&params).unwrap().unit, Unit::Hours);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be read from a parameter's text",
    label = "no type of a parameter",
    note = "implement `FromStr` for it, or read it from JSON with `#[opt(json)]` and serde's `Deserialize`"
)]
pub trait ParamValue: Sized {
    /// Reads `text`.
    ///
    /// # Errors
    ///
    /// Why it does not parse.
    fn from_param(text: &str) -> Result<Self, String>;
}

impl<T: FromStr> ParamValue for T
where
    T::Err: fmt::Display,
{
    fn from_param(text: &str) -> Result<Self, String> {
        text.parse().map_err(|error: T::Err| error.to_string())
    }
}

/// Errors of an `init` under the names that fluvio's authors know.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SmartModuleInitError {
    /// A required parameter was not given.
    MissingParam(String),
}

impl fmt::Display for SmartModuleInitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MissingParam(name) => write!(f, "parameter `{name}` is missing"),
        }
    }
}

impl std::error::Error for SmartModuleInitError {}

/// What `#[derive(SmartOpt)]` calls for each field.
#[doc(hidden)]
pub mod fields {
    use super::{ParamError, ParamValue, SmartModuleExtraParams};

    pub fn optional<T: ParamValue>(
        params: &SmartModuleExtraParams,
        name: &str,
    ) -> Result<Option<T>, ParamError> {
        let Some(value) = params.get(name) else {
            return Ok(None);
        };
        let parsed = T::from_param(value).map_err(|reason| ParamError::Invalid {
            name: name.to_owned(),
            value: value.clone(),
            reason,
        })?;
        Ok(Some(parsed))
    }

    pub fn required<T: ParamValue>(
        params: &SmartModuleExtraParams,
        name: &str,
    ) -> Result<T, ParamError> {
        optional(params, name)?.ok_or_else(|| ParamError::Missing {
            name: name.to_owned(),
        })
    }

    pub fn with_default<T: ParamValue>(
        params: &SmartModuleExtraParams,
        name: &str,
        default: impl FnOnce() -> T,
    ) -> Result<T, ParamError> {
        Ok(optional(params, name)?.unwrap_or_else(default))
    }

    pub fn only(
        params: &SmartModuleExtraParams,
        known: &'static [&'static str],
    ) -> Result<(), ParamError> {
        match params.iter().find(|(name, _)| !known.contains(name)) {
            None => Ok(()),
            Some((name, _)) => Err(ParamError::Unknown {
                name: name.to_owned(),
                known,
            }),
        }
    }
}
