//! Which partition of `__consumer_offsets` a group belongs to: as Kafka says it.

/// The hash of a Java string.
fn java_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0_i32, |hash, unit| {
        hash.wrapping_mul(31).wrapping_add(i32::from(unit))
    })
}

/// The partition of a group where there are `partition_count` of them; 0 where there are none.
pub(super) fn partition_of(group: &str, partition_count: i32) -> i32 {
    // As Kafka: the one number that has no positive counterpart counts as 0.
    let hash = java_hash(group).checked_abs().unwrap_or(0);
    hash.checked_rem(partition_count).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_hash_as_in_java() {
        assert_eq!(java_hash(""), 0);
        assert_eq!(java_hash("hello"), 99_162_322);
        // Beyond the basic plane it takes two units.
        assert_eq!(java_hash("\u{1F600}"), 1_772_899);
        assert_eq!(java_hash("polygenelubricants"), i32::MIN);
    }

    #[test]
    fn every_group_has_one_of_the_partitions() {
        assert_eq!(partition_of("polygenelubricants", 16), 0);
        assert_eq!(partition_of("hello", 50), 22);
        assert_eq!(
            partition_of("-negative-hash-", 16),
            partition_of("-negative-hash-", 16)
        );
        for number in 0..1000 {
            assert!((0..7).contains(&partition_of(&format!("group-{number}"), 7)));
        }
    }
}
