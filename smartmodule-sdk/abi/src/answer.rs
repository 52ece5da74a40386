//! What a guest answers: the fixed block whose address its export returns.

/// The length of [`Answer`] in bytes.
pub const ANSWER_BYTES: usize = 32;

/// Every record that [`Answer::consumed_count`] counts went well.
pub const STATUS_OK: u32 = 0;
/// The record with index [`Answer::consumed_count`] failed; those before it went well.
pub const STATUS_RECORD_FAILED: u32 = 1;
/// The call failed as a whole.
pub const STATUS_FAILED: u32 = 2;

/// What a guest answers to a call. Addresses are in the guest's memory, and stay valid until the
/// next call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Answer {
    /// [`STATUS_OK`], [`STATUS_RECORD_FAILED`] or [`STATUS_FAILED`].
    pub status: u32,
    /// How many input records were dealt with; fewer than given only when one failed or the output
    /// reached its soft bound.
    pub consumed_count: u32,
    /// Where the output starts: a bitmap for a filter, records for every other kind.
    pub output_address: u32,
    /// How many bytes the output has.
    pub output_bytes: u32,
    /// How many records the output holds, or keeps.
    pub output_count: u32,
    /// Where the error's text starts.
    pub message_address: u32,
    /// How many bytes the error's text has.
    pub message_bytes: u32,
}

impl Answer {
    /// The answer's bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; ANSWER_BYTES] {
        let words = [
            self.status,
            self.consumed_count,
            self.output_address,
            self.output_bytes,
            self.output_count,
            self.message_address,
            self.message_bytes,
            0,
        ];
        let mut bytes = [0; ANSWER_BYTES];
        for (place, word) in bytes.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// The answer that `bytes` hold.
    #[must_use]
    pub fn decode(bytes: &[u8; ANSWER_BYTES]) -> Self {
        let word = |index: usize| {
            let mut word = [0; 4];
            word.copy_from_slice(&bytes[index * 4..index * 4 + 4]);
            u32::from_le_bytes(word)
        };
        Self {
            status: word(0),
            consumed_count: word(1),
            output_address: word(2),
            output_bytes: word(3),
            output_count: word(4),
            message_address: word(5),
            message_bytes: word(6),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_decodes_to_what_was_encoded() {
        let answer = Answer {
            status: STATUS_RECORD_FAILED,
            consumed_count: 2,
            output_address: 0xffff_0000,
            output_bytes: 3,
            output_count: 4,
            message_address: 5,
            message_bytes: 6,
        };

        assert_eq!(Answer::decode(&answer.encode()), answer);
    }
}
