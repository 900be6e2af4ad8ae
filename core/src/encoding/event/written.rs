//! Images that were written. An update leaves most fields as they are, so the second image copies their bytes from the
//! first one.

use crate::entity::event::{Bytes, Value};
use crate::entity::snapshot::is_same;
use std::ops::Range;

/// Where the fields of an image stand among the bytes that were written.
#[derive(Default)]
pub(super) struct Written<'i> {
    image: &'i [(Bytes<'i>, Value<'i>)],
    places: Vec<Range<usize>>,
    /// The index of the field that is compared next.
    next: usize,
}

impl<'i> Written<'i> {
    /// Nothing of an image yet.
    pub fn new(image: &'i [(Bytes<'i>, Value<'i>)]) -> Self {
        Written {
            image,
            places: Vec::with_capacity(image.len()),
            next: 0,
        }
    }

    /// Adds the place of the next field.
    pub fn add(&mut self, place: Range<usize>) {
        self.places.push(place);
    }

    /// The place of a field with this value. Images are ordered by name, and fields are to be asked for in that order;
    /// in another one, some are not found.
    pub fn find(&mut self, field: &[u8], value: &Value) -> Option<Range<usize>> {
        let (name, known) = loop {
            let (name, known) = self.image.get(self.next)?;
            if is_same(name, field) {
                break (name, known);
            }
            if **name > *field {
                return None;
            }
            self.next = self.next.saturating_add(1);
        };
        debug_assert_eq!(**name, *field, "the field that was asked for");
        let place = self.places.get(self.next)?;
        self.next = self.next.saturating_add(1);
        let is_kept = match (known, value) {
            (Some((known_type, known)), Some((field_type, text))) => {
                known_type == field_type && is_same(known, text)
            }
            (None, None) => true,
            _ => false,
        };
        is_kept.then(|| place.clone())
    }
}
