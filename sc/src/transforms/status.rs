//! Whether a transform can run. Pure.
//!
//! What it needs may go, and where rows are written by others than this SC it may never have been there. Of
//! transforms that feed each other the one that came last waits, so that none stops because of another that
//! somebody adds.

use thalweg_metadata::Write;
use thalweg_types::resource::{Transform, TransformState, TransformStatus};

use super::history;
use super::rules::problem;
use crate::state::Observed;

/// The write that gives a transform its status, where it has another.
pub(crate) fn change(observed: &Observed, transform: &Transform, now_ms: i64) -> Option<Write> {
    let status = status(observed, transform, now_ms);
    if status == transform.status {
        return None;
    }
    let transform = transform.clone();
    Some(Write::Update(
        Transform {
            status,
            ..transform
        }
        .into(),
    ))
}

fn status(observed: &Observed, transform: &Transform, now_ms: i64) -> TransformStatus {
    let others = observed.transforms.values();
    let older = others.filter(|other| other.number < transform.number);
    match problem(&transform.name, &transform.spec, observed, older) {
        Some(problem) => TransformStatus {
            state: TransformState::Pending,
            reason: problem.for_people(),
            // What can't run runs nothing.
            history: transform.status.history.clone(),
        },
        None => TransformStatus {
            state: if transform.spec.paused {
                TransformState::Paused
            } else {
                TransformState::Running
            },
            reason: String::new(),
            history: history::next(observed, transform, now_ms),
        },
    }
}

#[cfg(test)]
mod tests {
    use thalweg_types::ResourceName;
    use thalweg_types::resource::TopicState;

    use super::super::rules::tests::{observed, transform};
    use super::*;

    #[test]
    fn what_has_all_that_it_needs_runs_unless_it_is_paused() {
        let observed = observed();
        let mut wanted = transform("x", 1, "a", "b");
        assert_eq!(status(&observed, &wanted, 7).state, TransformState::Running);

        wanted.spec.paused = true;
        let paused = status(&observed, &wanted, 7);
        assert_eq!(paused.state, TransformState::Paused);
        assert_eq!(paused.reason, "");

        wanted.status = paused;
        assert_eq!(change(&observed, &wanted, 9), None);
    }

    #[test]
    fn what_is_missing_is_said() {
        let mut observed = observed();
        let wanted = transform("x", 1, "a", "b");
        let late: ResourceName = "late".parse().unwrap();
        let kept = observed.smart_modules.remove(&late).unwrap();
        let without_module = status(&observed, &wanted, 7);
        assert_eq!(without_module.state, TransformState::Pending);
        let reason = without_module.reason;
        assert!(reason.starts_with("step 1 of the chain: "), "{reason}");

        observed.smart_modules.insert(late, kept);
        let topic = observed.topics.get_mut(&"b".parse().unwrap()).unwrap();
        topic.status.state = TopicState::Deleting;
        let reason = status(&observed, &wanted, 7).reason;
        assert_eq!(reason, "outputs[0]: topic `b` is being deleted");
    }

    #[test]
    fn of_those_that_feed_each_other_the_last_waits() {
        let mut observed = observed();
        let (first, second) = (transform("x", 8, "a", "b"), transform("w", 9, "b", "a"));
        observed.insert_transform(first.clone());
        observed.insert_transform(second.clone());

        assert_eq!(status(&observed, &first, 7).state, TransformState::Running);
        let second = status(&observed, &second, 7);
        assert_eq!(second.state, TransformState::Pending);
        let way = "b -> (transform w) -> a -> (transform x) -> b";
        assert!(second.reason.contains(way), "{}", second.reason);
    }
}
