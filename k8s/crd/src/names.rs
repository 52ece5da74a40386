//! What the objects of rows are called. Pure, and a function of the row's key alone, so that the API
//! server's rule that names are unique is the SC's rule.
//!
//! Kubernetes allows fewer names than Kafka: RFC 1123 subdomains.

use thalweg_types::{SpuId, TopicPartition, sha256_hex};

/// The longest name that is taken as it is: a partition's object has a dash and up to ten digits more, of
/// 253 in all.
const PLAIN_LENGTH_MAX: usize = 242;

/// How many hexadecimal digits of the name's SHA-256 stand for a name that Kubernetes does not allow.
const HASH_LENGTH: usize = 16;

/// What stands before them, so that no plain name can be taken for one of these.
const HASH_MARK: &str = "-x";

/// The name of the object of a topic or SmartModule: its own where that is an RFC 1123 subdomain of at most
/// 242 characters; else what can be kept of it, `-x`, and 16 digits of its SHA-256.
#[must_use]
pub fn row_object_name(name: &str) -> String {
    if is_plain(name) {
        return name.to_owned();
    }
    let kept: String = name
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '-'
            }
        })
        .take(PLAIN_LENGTH_MAX - HASH_MARK.len() - HASH_LENGTH)
        .collect();
    let kept = kept.trim_matches('-');
    let kept = if kept.is_empty() { "topic" } else { kept };
    let hash = sha256_hex(name.as_bytes());
    format!("{kept}{HASH_MARK}{}", &hash[..HASH_LENGTH])
}

/// The name of a partition's object: `<topic's object>-<number>`.
#[must_use]
pub fn partition_object_name(partition: &TopicPartition) -> String {
    let topic = row_object_name(partition.topic.as_str());
    format!("{topic}-{}", partition.partition)
}

/// The name of an SPU's object: `spu-<id>`.
#[must_use]
pub fn spu_object_name(spu: SpuId) -> String {
    format!("spu-{spu}")
}

fn is_plain(name: &str) -> bool {
    name.len() <= PLAIN_LENGTH_MAX
        && name.split('.').all(is_label)
        && !name
            .rsplit_once(HASH_MARK)
            .is_some_and(|(_, hash)| is_hash(hash))
}

fn is_label(label: &str) -> bool {
    let is_edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    label.starts_with(is_edge)
        && label.ends_with(is_edge)
        && label.chars().all(|c| is_edge(c) || c == '-')
}

fn is_hash(text: &str) -> bool {
    text.len() == HASH_LENGTH
        && text
            .chars()
            .all(|c| c.is_ascii_digit() || matches!(c, 'a'..='f'))
}

#[cfg(test)]
mod tests {
    use thalweg_types::PartitionIndex;

    use super::*;

    #[test]
    fn names_that_kubernetes_allows_are_kept() {
        for name in ["flights", "flights-0", "a.b-c.d9", &"x".repeat(242)] {
            assert_eq!(row_object_name(name), name);
        }
    }

    #[test]
    fn other_names_become_names_of_their_own() {
        let offsets = row_object_name("__consumer_offsets");
        assert_eq!(offsets, "consumer-offsets-x189fe61b60351069");

        let names = [
            "Flights",
            "flights_",
            "FLIGHTS",
            "a..b",
            ".a",
            "-",
            &offsets,
            "__smartmodules",
            "__transform-7-changelog",
            "transform-7-changelog",
        ];
        let long = ["y".repeat(243), "y".repeat(249)];
        let mut objects: Vec<_> = names
            .into_iter()
            .chain(long.iter().map(String::as_str))
            .map(row_object_name)
            .collect();
        for object in &objects {
            assert!(object.len() <= PLAIN_LENGTH_MAX, "{object}");
            assert!(object.split('.').all(is_label), "{object}");
        }
        objects.push(offsets);
        let count = objects.len();
        objects.sort();
        objects.dedup();
        assert_eq!(objects.len(), count, "no two are the same");
    }

    #[test]
    fn the_longest_partition_name_is_allowed() {
        let partition = TopicPartition {
            topic: "z".repeat(249).parse().unwrap(),
            partition: PartitionIndex(i32::MAX),
        };

        assert!(partition_object_name(&partition).len() <= 253);
    }
}
