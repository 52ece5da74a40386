//! How this SPU holds a partition, for whoever asks whether all is well.

use thalweg_storage::LogHealth;

use super::slot::SlotState;

/// How a partition is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Held {
    /// Its log is being opened, or changes its role.
    Opening,
    /// It is led.
    Leads {
        /// Why it can't be written, or is led no longer.
        trouble: Option<String>,
    },
    /// Another leads it.
    Follows,
    /// Its log can't be used.
    Failed {
        /// Why.
        reason: String,
    },
}

impl From<SlotState> for Held {
    fn from(state: SlotState) -> Self {
        match state {
            SlotState::Opening | SlotState::Closed => Self::Opening,
            SlotState::Failed { reason, .. } => Self::Failed { reason },
            SlotState::Leader(replica) => {
                let ended = replica.ended().map(|reason| reason.to_string());
                Self::with_log(&replica.log().health(), |full| Self::Leads {
                    trouble: ended.or(full),
                })
            }
            // A full disk shows in that it does not stay in sync.
            SlotState::Follower(follower) => {
                Self::with_log(&follower.log().health(), |_full| Self::Follows)
            }
        }
    }
}

impl Held {
    fn with_log(log: &LogHealth, usable: impl FnOnce(Option<String>) -> Self) -> Self {
        match log {
            LogHealth::Ok => usable(None),
            LogHealth::ReadOnly { reason } => usable(Some(reason.clone())),
            LogHealth::Failed { reason } | LogHealth::Quarantined { reason } => Self::Failed {
                reason: reason.clone(),
            },
        }
    }
}
