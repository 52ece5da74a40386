//! How the windows of an aggregate are written: their shape, and two things that are about windows alone.

use std::time::Duration;

use thalweg_types::{LateRecords, WindowShape, WindowSpec};

/// What is said of an aggregate's windows, in YAML or by flags.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct WindowForm {
    pub(crate) shape: Option<WindowShape>,
    pub(crate) lateness: Option<Duration>,
    pub(crate) late: Option<LateRecords>,
}

/// Something was said of windows, and not which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is for windows: give `window`, too, for example `tumbling:5m`")]
pub(crate) struct NoWindow(&'static str);

impl WindowForm {
    /// The windows; none where nothing is said of any.
    ///
    /// # Errors
    /// When something is said of windows that are not there.
    pub(crate) fn into_spec(self) -> Result<Option<WindowSpec>, NoWindow> {
        let Self {
            shape,
            lateness,
            late,
        } = self;
        match (shape, lateness, late) {
            (None, None, None) => Ok(None),
            (None, Some(_), _) => Err(NoWindow("lateness")),
            (None, None, Some(_)) => Err(NoWindow("late")),
            (Some(shape), lateness, late) => Ok(Some(WindowSpec {
                shape,
                lateness_ms: lateness.map(as_ms).unwrap_or_default(),
                late: late.unwrap_or_default(),
            })),
        }
    }
}

fn as_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
