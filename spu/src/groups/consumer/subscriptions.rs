//! Which topics members want, by name and by regular expression.

use std::collections::{BTreeMap, BTreeSet};

use regex::bytes::{Regex, RegexBuilder};
use thalweg_types::{TopicId, TopicName};
use thalweg_wire::KafkaError;

use crate::cluster_view::View;
use crate::groups::records::StoredConsumer;

/// How large a compiled expression may be, in bytes.
const REGEX_BYTES_MAX: usize = 1 << 20;
/// The longest expression, in bytes.
const PATTERN_BYTES_MAX: usize = 4096;

/// An expression that topics' names must match as a whole. Names are ASCII.
pub(super) fn compiled(pattern: &str) -> Result<Regex, KafkaError> {
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(KafkaError::InvalidRegularExpression);
    }
    RegexBuilder::new(&format!("^(?:{pattern})$"))
        .unicode(false)
        .size_limit(REGEX_BYTES_MAX)
        .build()
        .map_err(|_| KafkaError::InvalidRegularExpression)
}

/// The topics that a member wants and that are there.
pub(super) fn wanted(about: &StoredConsumer, view: &View) -> BTreeSet<TopicId> {
    let by_name = about.topics.iter().filter_map(|name| {
        let name = TopicName::new(name).ok()?;
        view.topic(&name).map(|topic| topic.id)
    });
    let mut wanted: BTreeSet<_> = by_name.collect();
    let pattern = about.regex.as_deref().filter(|pattern| !pattern.is_empty());
    if let Some(regex) = pattern.and_then(|pattern| compiled(pattern).ok()) {
        let fits =
            |name: &TopicName| !name.is_internal() && regex.is_match(name.as_str().as_bytes());
        let topics = view.topics.values().filter(|topic| fits(&topic.name));
        wanted.extend(topics.map(|topic| topic.id));
    }
    wanted
}

/// How many partitions the topics have that somebody wants.
pub(super) fn partitions_of<'a>(
    topics: impl Iterator<Item = &'a BTreeSet<TopicId>>,
    view: &View,
) -> BTreeMap<TopicId, i32> {
    let count = |id: &TopicId| {
        let topic = view.topic_by_id(*id)?;
        let placed = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
        Some((*id, placed))
    };
    topics.flatten().filter_map(count).collect()
}
