//! The events of a mutation. Each is encoded once for all streams that share its payload and format.

use super::diff::Types;
use super::planner::{Planner, Publication};
use crate::encoding::event::debezium::Style;
use crate::encoding::event::{self, Origin};
use crate::entity::declaration::{Declaration, Format, Payload, Stream};
use crate::entity::event::{Bytes, Change, Event, Image, Pair, Value, Version};
use crate::entity::limits::{EVENT_BYTES, MAX_EVENT_BYTES};
use crate::entity::operation::Operation;
use crate::entity::snapshot::{NOTHING, Snapshot};
use crate::error::Error;
use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

/// The overhead of an event in bytes: even the smallest one costs time and memory.
const OVERHEAD: usize = 64;

/// The most bytes that a format adds to the texts of a pair of META.
const PAIR_OVERHEAD: usize = 20;

/// The most bytes that META takes in one event. JSON writes some bytes as six, as `\u0000`, and every format adds a
/// few to each pair.
fn meta_bytes(format: Format, meta: &[Pair]) -> usize {
    let factor: usize = match format {
        Format::MsgPack | Format::Flat => 1,
        Format::Debezium => 6,
        Format::FluxaOrm1 | Format::FluxaOrm2 => return 0,
    };
    let sizes = meta.iter().map(|(name, value)| {
        let texts = name.len().saturating_add(value.len());
        texts.saturating_mul(factor).saturating_add(PAIR_OVERHEAD)
    });
    sizes.fold(0, usize::saturating_add)
}

/// The properties of a stream that its events depend on.
type Kind<'k> = (Payload, Format, Style<'k>);

/// The entries of one mutation by kind. Most types have a few kinds of streams, which are searched; each stream may
/// have an IDFIELD of its own, though.
#[derive(Default)]
struct Encoded<'k> {
    few: Vec<(Kind<'k>, usize)>,
    more: HashMap<Kind<'k>, usize>,
}

impl<'k> Encoded<'k> {
    const FEW: usize = 8;

    fn find(&self, kind: &Kind<'k>) -> Option<usize> {
        let known = self.few.iter().find(|(known, _)| known == kind);
        match known {
            Some((_, entry)) => Some(*entry),
            None if self.more.is_empty() => None,
            None => self.more.get(kind).copied(),
        }
    }

    fn add(&mut self, kind: Kind<'k>, entry: usize) {
        if self.few.len() < Self::FEW {
            self.few.push((kind, entry));
        } else {
            self.more.insert(kind, entry);
        }
    }
}

/// A mutation of an entity, with all the fields that any stream publishes.
pub struct Mutation<'s> {
    pub operation: Operation,
    /// Whether it is a TOUCH, which has no changes.
    pub touch: bool,
    /// Whether SOFTDELETE makes it the insert of an entity that was stored before. It carries the whole state.
    pub returns: bool,
    /// Whether it is FluxaORM's soft delete: the entity stays, and only what changed is told.
    pub soft: bool,
    pub changes: &'s [Change<'s>],
    /// The fields that are named as null and are null before and after.
    pub nulls: &'s [Bytes<'s>],
    pub images: Images<'s>,
    pub version: Option<Version>,
    /// Whether the limit of events does not hold it back: its values are stored already, or take the place of such
    /// and are no larger. Values that a client gives beyond that are never excused.
    pub excused: bool,
}

impl<'s> Mutation<'s> {
    pub fn new(operation: Operation) -> Self {
        Mutation {
            operation,
            touch: false,
            returns: false,
            soft: false,
            changes: &[],
            nulls: &[],
            images: Images::default(),
            version: None,
            excused: false,
        }
    }

    /// The changes that a payload carries.
    fn changes(&self, payload: Payload) -> &[Change<'s>] {
        match (payload, self.operation) {
            (Payload::Full, _) | (Payload::Changes, Operation::Update) => self.changes,
            (Payload::Changes, _) if self.returns => self.changes,
            (Payload::Changes, Operation::Insert | Operation::Delete) => &[],
            (Payload::Keys | Payload::Images, _) => &[],
        }
    }

    /// Whether FluxaORM v1 writes all columns, also those that are null.
    fn has_all_columns(&self) -> bool {
        match self.operation {
            Operation::Insert => true,
            Operation::Update => self.touch,
            Operation::Delete => !self.soft,
        }
    }

    /// Adds the columns that are null, fields of TYPES and those that the flush names, to what lists all others.
    #[inline(never)]
    fn add_null_columns<'h>(
        &'h self,
        declaration: &'h Declaration,
        changes: &mut Cow<'h, [Change<'h>]>,
        after: &mut Image<'h>,
    ) {
        let declared = declaration.types.keys().map(Vec::as_slice);
        let named = self.nulls.iter().map(|field| &**field);
        let mut known: HashSet<&[u8]> = match self.touch {
            true => after.iter().map(|(field, _)| &**field).collect(),
            false => changes.iter().map(|change| &*change.field).collect(),
        };
        let columns = declared.chain(named);
        let nulls: Vec<&[u8]> = columns.filter(|field| known.insert(field)).collect();
        let nulls = nulls.into_iter().map(Bytes::from);
        match self.touch {
            true => after.to_mut().extend(nulls.map(|field| (field, None))),
            false => changes.to_mut().extend(nulls.map(|field| Change {
                field,
                old: None,
                new: None,
            })),
        }
    }

    /// The images that a stream carries.
    fn images(&self, stream: &Stream) -> (Image<'_>, Image<'_>) {
        // A TOUCH is the only case in which FluxaORM v1 writes unchanged fields.
        let touched = self.touch && stream.format == Format::FluxaOrm1;
        if stream.payload != Payload::Images && !touched {
            return (Cow::Borrowed(&[]), Cow::Borrowed(&[]));
        }
        let before: &[_] = match self.operation {
            Operation::Insert => &[],
            Operation::Update | Operation::Delete => &self.images.before,
        };
        (before.into(), self.images.after.as_slice().into())
    }
}

/// All fields of an entity by name, before and after an operation.
#[derive(Default)]
pub struct Images<'s> {
    pub before: Vec<(Bytes<'s>, Value<'s>)>,
    pub after: Vec<(Bytes<'s>, Value<'s>)>,
}

impl<'s> Images<'s> {
    /// The images of a stored state before and after these changes.
    pub fn new(types: &Types, state: Option<&'s Snapshot>, changes: &[Change<'s>]) -> Self {
        let state = state.unwrap_or(&NOTHING);
        let mut before: Vec<(Bytes, Value)> = Vec::with_capacity(state.len());
        before.extend(
            state
                .iter()
                .map(|(field, text)| (field.into(), types.value(field, text))),
        );
        before.sort_unstable_by(|(a, _), (b, _)| by_name(a, b));
        let mut changes = Cow::Borrowed(changes);
        if !changes.is_sorted_by_key(|change| &change.field) {
            let changes = changes.to_mut();
            changes.sort_unstable_by(|a, b| by_name(&a.field, &b.field));
        }
        let mut after = Vec::with_capacity(before.len().saturating_add(changes.len()));
        let mut rest = before.as_slice();
        for Change { field, new, .. } in changes.iter() {
            let index = rest.partition_point(|(name, _)| by_name(name, field).is_lt());
            let (kept, others) = rest.split_at_checked(index).unwrap_or_default();
            after.extend_from_slice(kept);
            rest = match others.split_first() {
                Some(((name, _), others)) if name == field => others,
                _ => others,
            };
            if new.is_some() {
                after.push((field.clone(), new.clone()));
            }
        }
        after.extend_from_slice(rest);
        Images { before, after }
    }

    /// A change from null for each field of the state afterwards: all of it is new to readers.
    pub fn as_changes(&self) -> Vec<Change<'s>> {
        let after = self.after.iter().map(|(field, value)| Change {
            field: field.clone(),
            old: None,
            new: value.clone(),
        });
        after.collect()
    }

    pub fn of_delete(self) -> Self {
        Images {
            after: Vec::new(),
            ..self
        }
    }
}

/// The order of names. Most are told apart by their first byte, which needs no call.
fn by_name(a: &[u8], b: &[u8]) -> Ordering {
    let firsts = a.first().cmp(&b.first());
    firsts.then_with(|| a.cmp(b))
}

/// Those who are told of a mutation.
pub struct Audience<'m, 's> {
    /// The event for readers; `None` if for them nothing happens.
    pub readers: Option<&'m Mutation<'s>>,
    /// The event for FORMAT FLUXAORM1, to which SOFTDELETE hides nothing.
    pub library: Option<&'m Mutation<'s>>,
}

impl<'m, 's> Audience<'m, 's> {
    /// Everybody is told the same.
    pub fn all(mutation: &'m Mutation<'s>) -> Self {
        Audience {
            readers: Some(mutation),
            library: Some(mutation),
        }
    }

    fn of(&self, stream: &Stream) -> Option<&'m Mutation<'s>> {
        match stream.format {
            Format::FluxaOrm1 => self.library,
            _ => self.readers,
        }
    }
}

impl Planner<'_, '_> {
    /// Whether a stream tells everything as FluxaORM v1 does.
    pub fn has_library(&self) -> bool {
        let mut streams = self.declaration.streams.iter();
        streams.any(|stream| stream.format == Format::FluxaOrm1)
    }

    /// Whether a stream with this property may get an event of this operation, by its OPS alone.
    fn wants(&self, operation: Operation, carries: impl Fn(&Stream) -> bool) -> bool {
        let takes = |stream: &Stream| match operation {
            Operation::Insert | Operation::Delete => stream.operations.contains(operation.into()),
            Operation::Update => true,
        };
        let mut streams = self.declaration.streams.iter();
        streams.any(|stream| carries(stream) && takes(stream))
    }

    pub fn wants_full(&self, operation: Operation) -> bool {
        self.wants(operation, |stream| stream.payload == Payload::Full)
    }

    pub fn wants_images(&self, operation: Operation, touch: bool) -> bool {
        self.wants(operation, |stream| {
            stream.payload == Payload::Images || (touch && stream.format == Format::FluxaOrm1)
        })
    }

    /// Encodes the event for each stream that wants it.
    ///
    /// META and images are copied into each event, so a short command could request more than the available
    /// memory. The server checks maxmemory only before the command, so the total size is limited here.
    ///
    /// A delete of a stored entity, and an operation after which it is no larger than before, must not be held back
    /// by the limit. Their events may exceed it if no operation has published before: the stored entity bounds
    /// them. The next operation that publishes is refused then. META comes from the command and counts in any case,
    /// for each stream.
    pub fn publish(&mut self, id: &[u8], audience: Audience) -> Result<Vec<Publication>, Error> {
        let told = [audience.readers, audience.library].into_iter().flatten();
        let changes = told.map(|mutation| mutation.changes.len()).max();
        let streams = self.declaration.streams.len();
        self.spend(streams.saturating_mul(changes.unwrap_or(0).max(1)))?;
        let is_first = self.bytes == 0;
        let max = self.limits.event_bytes;
        let too_large = |is_excused| match is_excused {
            true => Error::EventTooLarge(MAX_EVENT_BYTES),
            false => Error::EventsTooLarge {
                setting: EVENT_BYTES,
                max,
            },
        };
        // The bytes so far without those that are excused.
        let mut counted = self.bytes;
        let mut publications: Vec<Publication> = Vec::with_capacity(streams);
        // Streams of one payload, format and style share an entry.
        let mut encoded = (streams > 1).then(Encoded::default);
        for (index, stream) in self.declaration.streams.iter().enumerate() {
            let Some(mutation) = audience.of(stream) else {
                continue;
            };
            let changed = mutation.changes.iter().map(|change| &*change.field);
            let wanted = match mutation.touch {
                true => stream.publishes_touch(),
                false => stream.publishes(mutation.operation, changed),
            };
            if !wanted {
                continue;
            }
            let is_excused = mutation.excused && is_first;
            if is_excused {
                counted = counted.saturating_add(meta_bytes(stream.format, &self.meta));
                if counted > max {
                    return Err(too_large(false));
                }
            }
            let style = Style {
                id_field: stream.id_field.as_deref(),
                safe_numbers: stream.safe_numbers,
            };
            let kind = (stream.payload, stream.format, style);
            let known = encoded.as_ref().and_then(|encoded| encoded.find(&kind));
            let entry = match known {
                Some(entry) => entry,
                None => {
                    let (before, mut after) = mutation.images(stream);
                    let mut changes = Cow::Borrowed(mutation.changes(stream.payload));
                    if stream.format == Format::FluxaOrm1 && mutation.has_all_columns() {
                        self.spend(self.declaration.types.len())?;
                        mutation.add_null_columns(self.declaration, &mut changes, &mut after);
                    }
                    let event = Event {
                        entity: self.declaration.name.as_slice().into(),
                        id: id.into(),
                        operation: mutation.operation,
                        changes,
                        before,
                        after,
                        touch: mutation.touch,
                        version: mutation.version,
                        meta: self.meta.as_slice().into(),
                    };
                    let max = match is_excused {
                        true => MAX_EVENT_BYTES,
                        false => max.saturating_sub(counted),
                    };
                    let origin = Origin {
                        style,
                        ..self.origin
                    };
                    let entry = event::encode(stream.format, &event, origin, max);
                    let entry = entry.ok_or_else(|| too_large(is_excused))?;
                    let index = self.plan.entries.len();
                    self.plan.entries.push(entry);
                    if let Some(encoded) = &mut encoded {
                        encoded.add(kind, index);
                    }
                    index
                }
            };
            let bytes = self.plan.entries.get(entry).map_or(0, event::size);
            let bytes = bytes.saturating_add(OVERHEAD);
            self.bytes = self.bytes.saturating_add(bytes);
            if !is_excused {
                counted = counted.saturating_add(bytes);
                if counted > max {
                    return Err(too_large(false));
                }
            }
            publications.push(Publication {
                stream: index,
                entry,
            });
        }
        Ok(publications)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Args;
    use crate::encoding::declaration;
    use crate::entity::value::FieldType;
    use proptest::collection::btree_map;
    use proptest::prelude::*;
    use proptest::sample::select;
    use std::collections::BTreeMap;

    #[test]
    fn entries_are_found_by_kind_however_many_there_are() {
        let names: Vec<_> = (0..100).map(|n| n.to_string().into_bytes()).collect();
        let kind = |name| {
            let style = Style {
                id_field: Some(name),
                safe_numbers: false,
            };
            (Payload::Images, Format::Debezium, style)
        };
        let mut encoded = Encoded::default();
        for (index, name) in names.iter().enumerate() {
            assert_eq!(encoded.find(&kind(name)), None);
            encoded.add(kind(name), index);
        }
        for (index, name) in names.iter().enumerate() {
            assert_eq!(encoded.find(&kind(name)), Some(index));
        }
        assert!(encoded.few.len() <= Encoded::FEW);
    }

    /// Names with values, in any order.
    fn fields() -> impl Strategy<Value = Vec<(&'static [u8], &'static [u8])>> {
        let names: [&[u8]; 6] = [b"", b"a", b"ab", b"b", b"ba", b"\xff"];
        let values: [&[u8]; 2] = [b"1", b"2"];
        let fields = btree_map(select(names.to_vec()), select(values.to_vec()), 0..6);
        let fields = fields.prop_map(|fields| fields.into_iter().collect::<Vec<_>>());
        fields.prop_shuffle()
    }

    proptest! {
        #[test]
        fn images_are_the_fields_before_and_after_by_name(
            stored in fields(),
            given in fields(),
            gone in select(vec![&b"1"[..], b"2", b""]),
        ) {
            let value = |text: &&'static [u8]| Some((FieldType::String, Bytes::from(*text)));
            let changes = given.iter().map(|(field, new)| Change {
                field: (*field).into(),
                old: None, // which images do not look at
                new: value(new).filter(|_| *new != gone),
            });
            let changes: Vec<_> = changes.collect();
            let before: BTreeMap<_, _> = stored.iter().copied().collect();
            let mut after = before.clone();
            after.extend(given);
            after.retain(|field, text| {
                let is_given = changes.iter().any(|change| *change.field == **field);
                !is_given || *text != gone
            });
            let state: Snapshot = stored.into_iter().collect();
            let words: [&[u8]; 2] = [b"STREAM", b"s"];
            let declaration = declaration::decode(b"user", Args::new(&words)).expect("a declaration");
            let images = Images::new(&Types::declared(&declaration), Some(&state), &changes);
            let all = |image: BTreeMap<&'static [u8], &'static [u8]>| -> Vec<(Bytes, Value)> {
                let fields = image.iter();
                fields.map(|(field, text)| ((*field).into(), value(text))).collect()
            };
            prop_assert_eq!(images.before, all(before));
            prop_assert_eq!(images.after, all(after));
        }
    }
}
