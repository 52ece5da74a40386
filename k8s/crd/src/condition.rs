//! Conditions of a status, by Kubernetes' API conventions ("Typical status properties").

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

/// The condition that every resource has: whether it can be used.
pub const CONDITION_READY: &str = "Ready";

/// What a condition says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it is so.
    pub is_true: bool,
    /// One word in CamelCase, for programs.
    pub reason: &'static str,
    /// For people; may be empty.
    pub message: String,
}

/// The condition `kind` with what `verdict` says of the object's `generation`. The time of its last
/// transition is `now_ms` (milliseconds since 1970), or that of `before` where its status has not changed.
#[must_use]
pub fn condition(
    kind: &str,
    verdict: Verdict,
    generation: Option<i64>,
    before: &[Condition],
    now_ms: i64,
) -> Condition {
    let status = if verdict.is_true { "True" } else { "False" };
    let same = before
        .iter()
        .find(|other| other.type_ == kind && other.status == status);
    // Milliseconds that no calendar has come from no clock; 1970 shows that.
    let now = || Time(whole_second(now_ms));
    Condition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: verdict.reason.to_owned(),
        message: verdict.message,
        observed_generation: generation,
        last_transition_time: same.map_or_else(now, |same| same.last_transition_time.clone()),
    }
}

/// Kubernetes keeps seconds.
fn whole_second(ms: i64) -> Timestamp {
    Timestamp::from_second(ms.div_euclid(1000)).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(is_true: bool, message: &str) -> Verdict {
        Verdict {
            is_true,
            reason: "Reason",
            message: message.to_owned(),
        }
    }

    #[test]
    fn the_time_is_that_of_the_last_change_of_status() {
        let first = condition("Ready", verdict(true, "a"), Some(1), &[], 5_999);
        assert_eq!(first.last_transition_time.0.as_second(), 5);

        let same = condition(
            "Ready",
            verdict(true, "b"),
            Some(2),
            std::slice::from_ref(&first),
            9_000,
        );
        assert_eq!(same.last_transition_time.0.as_second(), 5);
        assert_eq!(same.message, "b");

        let other = condition("Ready", verdict(false, "b"), Some(2), &[first], 9_000);
        assert_eq!(other.last_transition_time.0.as_second(), 9);
    }
}
