//! Windows over time, in which an aggregate accumulates: by the records' own timestamps.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{format_duration_ms, parse_duration};

/// The windows of an aggregate. Time is what the records' timestamps say, and how far it has come is
/// the largest of them so far in the input partition. A window is given out once, when time has passed its end
/// by the lateness; records that belong only to windows that were given out are late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WindowSpec {
    /// Which windows a record belongs to.
    pub shape: WindowShape,
    /// How long after its end a window still takes records, in milliseconds.
    #[serde(default)]
    pub lateness_ms: u64,
    /// What becomes of a record that is late.
    #[serde(default)]
    pub late: LateRecords,
}

/// Which windows a record belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum WindowShape {
    /// One window after the other: each record belongs to one.
    Tumbling {
        /// How long each is, in milliseconds.
        size_ms: u64,
    },
    /// Windows that overlap: a record belongs to each that spans its time.
    Hopping {
        /// How long each is, in milliseconds.
        size_ms: u64,
        /// How long after the one before each begins, in milliseconds.
        advance_ms: u64,
    },
    /// A window for records that follow each other closely, however many they are.
    Session {
        /// How long nothing may come, in milliseconds, before the next record begins another.
        gap_ms: u64,
    },
}

impl WindowShape {
    /// How many windows a record may belong to.
    pub const OVERLAP_MAX: u64 = 1_000;
    /// The longest size, advance or gap, in milliseconds: a hundred years.
    pub const MS_MAX: u64 = 100 * 366 * 86_400_000;
}

/// What becomes of a record that is late.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LateRecords {
    /// It is left out and counted.
    #[default]
    Drop,
    /// The step has failed on it: its `on_error` says what then.
    Fail,
}

/// Why a text is no window.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidWindow {
    /// It has another form.
    #[error(
        "`{0}` is no window: write `tumbling:<size>`, `hopping:<size>:<advance>` or `session:<gap>`, for example `tumbling:5m`"
    )]
    Form(String),
    /// A duration that can't be.
    #[error(
        "`{0}` is no window: its durations are whole milliseconds, from 1 ms to a hundred years"
    )]
    Duration(String),
    /// The windows would leave something out, or be too many.
    #[error("`{0}` is no window: the advance is at most the size, and at least a thousandth of it")]
    Advance(String),
}

impl fmt::Display for WindowShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Tumbling { size_ms } => write!(f, "tumbling:{}", format_duration_ms(size_ms)),
            Self::Hopping {
                size_ms,
                advance_ms,
            } => write!(
                f,
                "hopping:{}:{}",
                format_duration_ms(size_ms),
                format_duration_ms(advance_ms)
            ),
            Self::Session { gap_ms } => write!(f, "session:{}", format_duration_ms(gap_ms)),
        }
    }
}

impl FromStr for WindowShape {
    type Err = InvalidWindow;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let form = || InvalidWindow::Form(text.to_owned());
        let ms = |duration: &str| {
            let duration = parse_duration(duration).map_err(|_| form())?;
            let is_whole = duration.subsec_nanos() % 1_000_000 == 0;
            let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
            if !is_whole || !(1..=Self::MS_MAX).contains(&ms) {
                return Err(InvalidWindow::Duration(text.to_owned()));
            }
            Ok(ms)
        };
        match text.split(':').collect::<Vec<_>>()[..] {
            ["tumbling", size] => Ok(Self::Tumbling { size_ms: ms(size)? }),
            ["hopping", size, advance] => {
                let (size_ms, advance_ms) = (ms(size)?, ms(advance)?);
                if advance_ms > size_ms || size_ms.div_ceil(advance_ms) > Self::OVERLAP_MAX {
                    return Err(InvalidWindow::Advance(text.to_owned()));
                }
                Ok(Self::Hopping {
                    size_ms,
                    advance_ms,
                })
            }
            ["session", gap] => Ok(Self::Session { gap_ms: ms(gap)? }),
            _ => Err(form()),
        }
    }
}

impl TryFrom<String> for WindowShape {
    type Error = InvalidWindow;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<WindowShape> for String {
    fn from(shape: WindowShape) -> Self {
        shape.to_string()
    }
}

/// Why a text is no policy for late records.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no policy for late records: write `drop` or `fail`")]
pub struct InvalidLateRecords(String);

impl fmt::Display for LateRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Drop => "drop",
            Self::Fail => "fail",
        })
    }
}

impl FromStr for LateRecords {
    type Err = InvalidLateRecords;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "drop" => Ok(Self::Drop),
            "fail" => Ok(Self::Fail),
            _ => Err(InvalidLateRecords(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_survive_the_way_to_text_and_back() {
        for text in ["tumbling:5m", "hopping:1h:90s", "session:250ms"] {
            assert_eq!(text.parse::<WindowShape>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_window_is_refused_with_what_is() {
        for text in [
            "",
            "tumbling",
            "tumbling:",
            "hopping:1h",
            "session:x",
            "sliding:1s",
        ] {
            let error = text.parse::<WindowShape>().unwrap_err().to_string();
            assert!(error.contains("`session:<gap>`"), "{error}");
        }
        for text in ["tumbling:0", "session:200000w", "tumbling:1us"] {
            let error = text.parse::<WindowShape>().unwrap_err();
            assert_eq!(error, InvalidWindow::Duration(text.to_owned()));
        }
        for text in ["hopping:1m:2m", "hopping:1h:1ms"] {
            let error = text.parse::<WindowShape>().unwrap_err();
            assert_eq!(error, InvalidWindow::Advance(text.to_owned()));
        }
    }
}
