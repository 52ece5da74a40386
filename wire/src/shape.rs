//! The shapes of messages: enough of Kafka's schemas to check every array's claimed length
//! before anything is allocated by it.
//!
//! `kafka-protocol` reserves memory for as many elements as an array says it has, so that a frame
//! of a hundred bytes could ask for gigabytes and end the process. [`Shape::check`] walks a message
//! without decoding it, and fails where it claims more than it holds. The tests prove, for every
//! version that we speak, that a shape covers exactly the bytes that `kafka-protocol` writes.

mod groups;
mod placement;
mod table;

use crate::primitives::{Cursor, Malformed};

pub use table::{request_shape, response_shape};

/// How many elements of arrays, and tagged fields, one message may have in all. Decoded, one takes
/// up to some 200 bytes, many times more than on the wire.
pub const ELEMENTS_MAX: usize = 200_000;

/// The shape of one message in all its versions.
#[derive(Debug)]
pub struct Shape {
    /// The first version with compact lengths and tagged fields.
    flexible_from: i16,
    fields: &'static [Field],
    /// Tagged fields that hold arrays.
    tagged_arrays: &'static [(u32, &'static [Field])],
}

/// One field, and the versions that have it.
#[derive(Debug, Clone, Copy)]
struct Field {
    from: i16,
    until: i16,
    kind: Kind,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    /// That many bytes.
    Fixed(usize),
    /// A string with its length.
    Text,
    /// Bytes with their length.
    Blob,
    /// An array of things of that many bytes.
    Numbers(usize),
    /// An array of strings.
    Texts,
    /// An array of structs.
    Structs(&'static [Field]),
    /// One struct.
    Struct(&'static [Field]),
    /// A struct or none: a byte that says which, in front of it.
    Optional(&'static [Field]),
}

impl Shape {
    /// Walks `message` and returns how many elements it has in all. Nothing may follow it.
    ///
    /// # Errors
    /// When it claims more or less than it holds, or has more than [`ELEMENTS_MAX`] elements.
    pub fn check(&self, message: &[u8], version: i16) -> Result<usize, Malformed> {
        match self.check_start(message, version)? {
            (elements, 0) => Ok(elements),
            (_, extra) => Err(format!("{extra} bytes follow the message")),
        }
    }

    /// Walks the message at the start of `bytes`, and returns how many elements it has in all and
    /// how many bytes follow it. Kafka's brokers let bytes follow a request, and librdkafka relies
    /// on it: where it asks for the metadata of all topics it leaves three bytes too many behind.
    ///
    /// # Errors
    /// When it claims more than there is, or has more than [`ELEMENTS_MAX`] elements.
    pub fn check_start(&self, bytes: &[u8], version: i16) -> Result<(usize, usize), Malformed> {
        let mut walk = Walk {
            cursor: Cursor::new(bytes),
            version,
            is_flexible: version >= self.flexible_from,
            elements: 0,
        };
        walk.fields(self.fields)?;
        if walk.is_flexible {
            walk.tagged_fields(self.tagged_arrays)?;
        }
        Ok((walk.elements, walk.cursor.remaining()))
    }
}

struct Walk<'a> {
    cursor: Cursor<'a>,
    version: i16,
    is_flexible: bool,
    elements: usize,
}

impl Walk<'_> {
    fn fields(&mut self, fields: &'static [Field]) -> Result<(), Malformed> {
        let version = self.version;
        for field in fields
            .iter()
            .filter(|field| field.from <= version && version <= field.until)
        {
            self.field(field.kind)?;
        }
        Ok(())
    }

    fn field(&mut self, kind: Kind) -> Result<(), Malformed> {
        match kind {
            Kind::Fixed(size) => self.cursor.take(size).map(drop),
            Kind::Text => self.text(),
            Kind::Blob => {
                let length = self.length()?;
                self.cursor.take(length).map(drop)
            }
            Kind::Numbers(size) => {
                let count = self.count()?;
                self.cursor.take(count.saturating_mul(size)).map(drop)
            }
            Kind::Texts => (0..self.count()?).try_for_each(|_| self.text()),
            Kind::Structs(fields) => (0..self.count()?).try_for_each(|_| self.structure(fields)),
            Kind::Struct(fields) => self.structure(fields),
            Kind::Optional(fields) => match self.cursor.i8()? {
                ..0 => Ok(()),
                _ => self.structure(fields),
            },
        }
    }

    fn structure(&mut self, fields: &'static [Field]) -> Result<(), Malformed> {
        self.fields(fields)?;
        if self.is_flexible {
            self.tagged_fields(&[])?;
        }
        Ok(())
    }

    fn text(&mut self) -> Result<(), Malformed> {
        let length = if self.is_flexible {
            self.length()?
        } else {
            usize::try_from(self.cursor.i16()?).unwrap_or(0)
        };
        self.cursor.take(length).map(drop)
    }

    /// The length of bytes or an array; null is 0 here.
    fn length(&mut self) -> Result<usize, Malformed> {
        if self.is_flexible {
            Ok(self.cursor.compact_length()?.unwrap_or(0))
        } else {
            Ok(usize::try_from(self.cursor.i32()?).unwrap_or(0))
        }
    }

    fn count(&mut self) -> Result<usize, Malformed> {
        let count = self.length()?;
        // Every element takes a byte or more.
        if count > self.cursor.remaining() {
            return Err(format!(
                "an array claims {count} elements, {} bytes are left",
                self.cursor.remaining()
            ));
        }
        self.spend(count)?;
        Ok(count)
    }

    fn tagged_fields(
        &mut self,
        arrays: &'static [(u32, &'static [Field])],
    ) -> Result<(), Malformed> {
        let count = self.cursor.uvarint()? as usize;
        self.spend(count)?;
        for _ in 0..count {
            let tag = self.cursor.uvarint()?;
            let size = self.cursor.uvarint()? as usize;
            match arrays.iter().find(|(array_tag, _)| *array_tag == tag) {
                // `kafka-protocol` reads a tag that it knows without a look at its size.
                Some((_, fields)) => self.field(Kind::Structs(fields))?,
                None => self.cursor.take(size).map(drop)?,
            }
        }
        Ok(())
    }

    fn spend(&mut self, elements: usize) -> Result<(), Malformed> {
        self.elements = self.elements.saturating_add(elements);
        if self.elements > ELEMENTS_MAX {
            return Err(format!("more than {ELEMENTS_MAX} elements"));
        }
        Ok(())
    }
}
