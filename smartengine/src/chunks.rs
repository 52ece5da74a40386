//! How much of a batch goes through the steps at once.
//!
//! A first step that makes much of a batch stops in time and leaves the rest for later. A step
//! behind it can't, as those before it have dealt with its input; and an aggregate by key gives its
//! records out of order. So chains with such a step are given a batch in chunks: few records at
//! first, and then as many as should not make too much, going by what came of those before.

use crate::accumulators::Accumulators;
use crate::batch_run::Input;
use crate::chain_error::malformed;
use crate::open_step::OpenStep;
use crate::records::Place;
use crate::{CallLimits, ChainError, SmartModuleKind};
use thalweg_smartmodule_abi::read_record;

/// How many times the last chunk's input the next one has at most.
const GROWTH: usize = 8;

/// The sizes of a chain's chunks.
pub(crate) struct Chunks {
    /// How many bytes of input the next chunk has; `None` where batches go through whole.
    input_bytes: Option<usize>,
    /// How many bytes a chunk may become.
    output_bytes_max: usize,
}

impl Chunks {
    pub(crate) fn new(steps: &[OpenStep], accumulators: &Accumulators, limits: CallLimits) -> Self {
        let can_grow = |step: &OpenStep| step.kind() != SmartModuleKind::Filter;
        let is_by_key = matches!(
            accumulators,
            Accumulators::ByKey(_) | Accumulators::Windowed(_)
        );
        let in_chunks = is_by_key || steps.iter().skip(1).any(can_grow);
        Self {
            input_bytes: in_chunks.then_some(1),
            output_bytes_max: limits.output_bytes_soft(),
        }
    }

    /// The next chunk of `input`, at least one record, and what is behind it.
    pub(crate) fn take<'a>(
        &self,
        input: Input<'a>,
        accumulators: &Accumulators,
    ) -> Result<(Input<'a>, Input<'a>), ChainError> {
        let input_bytes = self.input_bytes.unwrap_or(usize::MAX);
        if self.fits_whole(input, input_bytes, accumulators) {
            let end = Place {
                bytes: input.section.len(),
                record_count: input.record_count,
            };
            return Ok((input, input.behind(end)));
        }
        let mut place = Place::default();
        let mut output_bytes = 0;
        while place.record_count < input.record_count {
            let mut position = place.bytes;
            let record = read_record(input.section, &mut position)
                .map_err(|_| malformed(place.record_count))?;
            // Each record of an aggregate repeats its accumulator.
            output_bytes += match accumulators {
                Accumulators::ByKey(keyed) => keyed.get(record.key).len(),
                Accumulators::Windowed(windows) => windows.record_bytes_max(),
                Accumulators::None | Accumulators::One(_) => 0,
            };
            let is_enough = position > input_bytes || output_bytes > self.output_bytes_max / 2;
            if is_enough && place.record_count > 0 {
                break;
            }
            place = Place {
                bytes: position,
                record_count: place.record_count + 1,
            };
        }
        let chunk = Input {
            section: &input.section[..place.bytes],
            record_count: place.record_count,
        };
        Ok((chunk, input.behind(place)))
    }

    /// Whether it can be told without a look at the records that all of them make one chunk.
    fn fits_whole(&self, input: Input<'_>, bytes: usize, accumulators: &Accumulators) -> bool {
        let accumulator_bytes = match accumulators {
            Accumulators::ByKey(keyed) => keyed.longest_bytes(),
            Accumulators::Windowed(windows) => windows.record_bytes_max(),
            Accumulators::None | Accumulators::One(_) => 0,
        };
        let repeated_bytes = accumulator_bytes.saturating_mul(input.record_count);
        input.section.len() <= bytes && repeated_bytes <= self.output_bytes_max / 2
    }

    /// Takes into account what came of a chunk.
    pub(crate) fn learn(&mut self, input_bytes: usize, output_bytes: usize) {
        let Some(next) = &mut self.input_bytes else {
            return;
        };
        let grown = input_bytes.saturating_mul(GROWTH);
        // Half of what would be just enough, since records differ.
        let fitting = (self.output_bytes_max / 2)
            .saturating_mul(input_bytes)
            .checked_div(output_bytes.max(1))
            .unwrap_or(usize::MAX);
        *next = (*next).max(grown).min(fitting).max(1);
    }
}

impl<'a> Input<'a> {
    fn behind(self, place: Place) -> Self {
        Self {
            section: &self.section[place.bytes..],
            record_count: self.record_count - place.record_count,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_smartmodule_abi::write_record;

    fn chunks(output_bytes_max: usize) -> Chunks {
        Chunks {
            input_bytes: Some(1),
            output_bytes_max,
        }
    }

    /// The sizes of the chunks of 1000 records that become `factor` times their size each.
    fn sizes(chunks: &mut Chunks, factor: usize) -> Vec<usize> {
        let mut section = Vec::new();
        for delta in 0..1000 {
            write_record(&mut section, 0, delta, None, Some(b"value"), [].into_iter());
        }
        let mut rest = Input {
            section: &section,
            record_count: 1000,
        };
        let mut sizes = Vec::new();
        while rest.record_count > 0 {
            let (chunk, behind) = chunks.take(rest, &Accumulators::None).unwrap();
            chunks.learn(chunk.section.len(), chunk.section.len() * factor);
            sizes.push(chunk.record_count);
            rest = behind;
        }
        sizes
    }

    #[test]
    fn chunks_grow_to_whole_batches_where_little_comes_of_them() {
        let mut chunks = chunks(1 << 20);
        assert!(sizes(&mut chunks, 1).len() < 6);
        assert_eq!(sizes(&mut chunks, 1), [1000]);
    }

    #[test]
    fn no_chunk_becomes_more_than_it_may() {
        let bound = 1 << 20;
        let sizes = sizes(&mut chunks(bound), 10_000);
        assert_eq!(sizes.iter().sum::<usize>(), 1000);
        assert!(sizes.iter().all(|count| count * 14 * 10_000 <= bound));
    }
}
