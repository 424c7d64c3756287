//! The structure of DER: tags and values, as far as certificates and signatures need it.

use der::{Reader, SliceReader};

pub const BOOLEAN: u8 = 0x01;
pub const INTEGER: u8 = 0x02;
pub const BIT_STRING: u8 = 0x03;
pub const OCTET_STRING: u8 = 0x04;
pub const OID: u8 = 0x06;
pub const SEQUENCE: u8 = 0x30;
pub const SET: u8 = 0x31;

/// The tag of the field `[number]` with something inside.
pub const fn context(number: u8) -> u8 {
    0xa0 | number
}

/// A value with its tag.
#[derive(Debug, Clone, Copy)]
pub struct Value<'a> {
    pub tag: u8,
    pub content: &'a [u8],
    /// With tag and length.
    pub whole: &'a [u8],
}

/// Values one after the other.
pub struct Values<'a>(Option<SliceReader<'a>>);

impl<'a> Values<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(SliceReader::new(bytes).ok())
    }

    /// The next value, which must have this tag.
    pub fn read(&mut self, tag: u8) -> Option<Value<'a>> {
        self.next().filter(|value| value.tag == tag)
    }

    /// The next value if it has this tag; otherwise it stays the next one.
    pub fn read_if(&mut self, tag: u8) -> Option<Value<'a>> {
        let next = self.0.as_ref()?.peek_byte()?;
        if next == tag { self.next() } else { None }
    }

    /// What is in the next value, which must have this tag.
    pub fn enter(&mut self, tag: u8) -> Option<Values<'a>> {
        self.read(tag).map(|value| Values::new(value.content))
    }
}

impl<'a> Iterator for Values<'a> {
    type Item = Value<'a>;

    /// `None` at the end, and where the bytes are not DER.
    fn next(&mut self) -> Option<Value<'a>> {
        let reader = self.0.as_mut()?;
        let value = next(reader);
        if value.is_none() {
            self.0 = None;
        }
        value
    }
}

fn next<'a>(reader: &mut SliceReader<'a>) -> Option<Value<'a>> {
    let len = usize::try_from(reader.peek_header().ok()?.length).ok()?;
    let whole = reader.tlv_bytes().ok()?;
    let content = whole.get(whole.len().checked_sub(len)?..)?;
    Some(Value { tag: *whole.first()?, content, whole })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn values_are_read_one_after_the_other() {
        let mut values = Values::new(&[0x30, 3, 2, 1, 7, 4, 1, 9]);
        let mut inner = values.enter(SEQUENCE).unwrap();
        assert!(inner.read_if(OID).is_none());
        assert_eq!(inner.read(INTEGER).unwrap().content, [7]);
        assert_eq!(values.read(OCTET_STRING).unwrap().whole, [4, 1, 9]);
        assert!(values.next().is_none());
    }

    #[test]
    fn a_length_beyond_the_end_is_the_end() {
        for bytes in [&[0x30, 5, 1][..], &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], &[0x30, 0x80, 0, 0], &[0x1f]]
        {
            assert!(Values::new(bytes).next().is_none(), "{bytes:x?}");
        }
    }
}
