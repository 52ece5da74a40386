//! Choices that bytes make: a fuzzer finds what matters sooner where a byte decides on it.

/// Bytes that are taken off one after the other; 0 once there are none left.
#[derive(Debug, Clone)]
pub(crate) struct Choices<'a> {
    rest: &'a [u8],
}

impl<'a> Choices<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn byte(&mut self) -> u8 {
        match self.rest.split_first() {
            None => 0,
            Some((first, rest)) => {
                self.rest = rest;
                *first
            }
        }
    }

    pub(crate) fn number(&mut self) -> u32 {
        u32::from_le_bytes([self.byte(), self.byte(), self.byte(), self.byte()])
    }

    /// Either `likely` or any number.
    pub(crate) fn number_or(&mut self, likely: u32) -> u32 {
        if self.byte() < 224 {
            likely
        } else {
            self.number()
        }
    }

    pub(crate) fn rest(self) -> &'a [u8] {
        self.rest
    }
}
