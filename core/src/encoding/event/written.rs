//! Images that were written. An update leaves most fields as they are, so the second image copies their bytes from the
//! first one.

use crate::entity::event::{Bytes, Value};
use crate::entity::snapshot::is_same;
use std::ops::Range;

/// A field of an image and its value.
pub(super) type Field<'i> = (Bytes<'i>, Value<'i>);

/// Where the fields of an image stand among the bytes that were written, one behind the other.
#[derive(Default)]
pub(super) struct Written<'i> {
    image: &'i [Field<'i>],
    /// Where each field begins, and where the last one ends.
    bounds: Vec<usize>,
}

impl<'i> Written<'i> {
    /// Nothing yet of an image that begins here.
    pub fn new(image: &'i [Field<'i>], start: usize) -> Self {
        let mut bounds = Vec::with_capacity(image.len().saturating_add(1));
        bounds.push(start);
        Written { image, bounds }
    }

    /// Adds the end of the next field.
    pub fn add(&mut self, end: usize) {
        self.bounds.push(end);
    }

    /// Where the fields from one index up to another one stand; `None` if these are none.
    fn place(&self, fields: Range<usize>) -> Option<Range<usize>> {
        if fields.is_empty() {
            return None;
        }
        Some(*self.bounds.get(fields.start)?..*self.bounds.get(fields.end)?)
    }

    /// The pieces of which another image is made. Images are ordered by name; in another order, less is copied.
    pub fn pieces<'o>(&'o self, image: &'o [Field<'o>]) -> Pieces<'o> {
        Pieces {
            written: self,
            next: 0,
            rest: image,
        }
    }
}

/// A part of the second image.
pub(super) enum Piece<'o> {
    /// Bytes of fields that are as in the first one.
    Copy(Range<usize>),
    /// A field that is to be written.
    Field(&'o [u8], &'o Value<'o>),
}

/// The pieces of the second image, in order.
pub(super) struct Pieces<'o> {
    written: &'o Written<'o>,
    /// The index of the field of the first image that is compared next.
    next: usize,
    /// The fields of the second one that are still to come.
    rest: &'o [Field<'o>],
}

impl<'o> Iterator for Pieces<'o> {
    type Item = Piece<'o>;

    fn next(&mut self) -> Option<Piece<'o>> {
        let ((field, value), others) = self.rest.split_first()?;
        let mut known = self.written.image.get(self.next..).unwrap_or_default();
        while let Some(((name, _), rest)) = known.split_first()
            && !is_same(name, field)
            && **name < **field
        {
            known = rest;
            self.next = self.next.saturating_add(1);
        }
        let pairs = known.iter().zip(self.rest);
        let kept = pairs
            .take_while(|(known, field)| is_kept(known, field))
            .count();
        let end = self.next.saturating_add(kept);
        let Some(place) = self.written.place(self.next..end) else {
            self.rest = others;
            return Some(Piece::Field(field, value));
        };
        self.next = end;
        self.rest = self.rest.get(kept..).unwrap_or_default();
        Some(Piece::Copy(place))
    }
}

/// Whether a field is the same in both images.
fn is_kept((name, known): &Field, (field, value): &Field) -> bool {
    let is_same_value = match (known, value) {
        (Some((known_type, known)), Some((field_type, text))) => {
            is_same(known, text) && known_type == field_type
        }
        (None, None) => true,
        _ => false,
    };
    is_same_value && is_same(name, field)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entity::value::FieldType;
    use proptest::prelude::*;
    use proptest::sample::select;
    use std::collections::BTreeMap;

    fn write(out: &mut String, field: &[u8], value: &Value) {
        let name = field.escape_ascii();
        out.push_str(&format!("{name}={value:?};"));
    }

    /// The second image, made of pieces, and what they are: `c` for a copy, `f` for a field.
    fn assembled(before: &[Field], after: &[Field]) -> (String, String) {
        let mut out = String::from("before ");
        let mut written = Written::new(before, out.len());
        for (field, value) in before {
            write(&mut out, field, value);
            written.add(out.len());
        }
        let (mut second, mut kinds) = (String::new(), String::new());
        for piece in written.pieces(after) {
            match piece {
                Piece::Copy(place) => {
                    second.push_str(&out[place]);
                    kinds.push('c');
                }
                Piece::Field(field, value) => {
                    write(&mut second, field, value);
                    kinds.push('f');
                }
            }
        }
        (second, kinds)
    }

    /// Fields from a text such as `a1 b2`, of a name and a value each.
    fn image(text: &str) -> Vec<Field<'_>> {
        let fields = text.split_whitespace().map(|field| {
            let (name, text) = field.split_at(1);
            let value = (FieldType::String, text.as_bytes().into());
            (name.as_bytes().into(), Some(value))
        });
        fields.collect()
    }

    #[test]
    fn fields_that_stay_are_copied_in_runs() {
        for (before, after, expected) in [
            ("", "", ""),
            ("", "a1 b1", "ff"),
            ("a1 b1", "", ""),
            ("a1 b1 c1", "a1 b1 c1", "c"),
            ("a1 b1 c1", "a1 b2 c1", "cfc"),
            ("a1 b1 c1", "a2 b1 c1", "fc"),
            ("a1 b1 c1", "a1 b1 c2", "cf"),
            ("a1 c1", "a1 b1 c1", "cfc"),
            ("a1 b1 c1", "a1 c1", "cc"),
            ("a1 b1 c1 d1", "d1 e1", "cf"),
            // Other programs may order them in another way.
            ("c1 b1 a1", "c1 b1 a1", "c"),
            ("c1 b1 a1", "b1 a1", "ff"),
        ] {
            let (_, kinds) = assembled(&image(before), &image(after));
            assert_eq!(kinds, expected, "{before} and then {after}");
        }
    }

    fn images() -> impl Strategy<Value = Vec<Field<'static>>> {
        let types = [
            FieldType::String,
            FieldType::Decimal(None),
            FieldType::Decimal(Some(1)),
        ];
        let value = (select(types.to_vec()), select(vec![&b"1"[..], b"2"]));
        let value = prop::option::of(value.prop_map(|(t, text)| (t, text.into())));
        let fields = prop::collection::btree_map("[a-h]", value, 0..8);
        fields.prop_map(|fields: BTreeMap<String, Value>| {
            let fields = fields.into_iter();
            fields
                .map(|(name, value)| (name.into_bytes().into(), value))
                .collect()
        })
    }

    proptest! {
        #[test]
        fn an_image_of_pieces_has_all_its_fields(before in images(), after in images()) {
            let mut expected = String::new();
            for (field, value) in &after {
                write(&mut expected, field, value);
            }
            prop_assert_eq!(assembled(&before, &after).0, expected);
        }
    }
}
