//! Which topics the members of a group read, as far as their metadata says so: Kafka's
//! `ConsumerProtocolSubscription`, whose beginning is the same in all versions.

use std::collections::BTreeSet;

use super::{CONSUMER, ClassicGroup, GroupState};

impl ClassicGroup {
    /// The topics that its members read; `None` where that is not known.
    pub(in crate::groups) fn subscribed_topics(&self) -> Option<BTreeSet<String>> {
        if self.protocol_type.as_deref() != Some(CONSUMER) {
            return None;
        }
        match self.state {
            GroupState::Empty => Some(BTreeSet::new()),
            _ => self
                .members
                .values()
                .map(|member| topics_of(&member.metadata(self.protocol.as_deref())))
                .try_fold(BTreeSet::new(), |mut all, topics| {
                    all.extend(topics?);
                    Some(all)
                }),
        }
    }
}

/// The topics of one subscription.
fn topics_of(metadata: &[u8]) -> Option<Vec<String>> {
    let mut rest = metadata.get(2..)?;
    let mut take = |count: usize| {
        let (taken, after) = rest.split_at_checked(count)?;
        rest = after;
        Some(taken)
    };
    let count = i32::from_be_bytes(take(4)?.try_into().ok()?);
    (0..count)
        .map(|_| {
            let length = i16::from_be_bytes(take(2)?.try_into().ok()?);
            let name = take(usize::try_from(length).ok()?)?;
            String::from_utf8(name.to_vec()).ok()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_read_and_garbage_is_not() {
        let subscription = b"\0\x03\0\0\0\x02\0\x01a\0\x02bc\xff\xff\xff\xff";

        assert_eq!(
            topics_of(subscription),
            Some(vec!["a".to_owned(), "bc".to_owned()])
        );
        for end in 0..subscription.len() - 4 {
            assert_eq!(topics_of(&subscription[..end]), None, "cut at {end}");
        }
        assert_eq!(topics_of(b"\0\0\x7f\xff\xff\xff"), None);
    }
}
