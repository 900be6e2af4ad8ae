//! The tags of FluxaORM's structs, both generations, word for word.
//!
//! | tag | generation | on `ID` | on another field |
//! | --- | --- | --- | --- |
//! | `dirtyStream=Name/pool/ops,…` | 2 | declares streams; pool and ops (letters of `IUD`) may be empty or left out | names streams that `ID` declares |
//! | `dirty=Name:add\|edit\|delete,…` | 1 | declares streams at the keys `dirty_Name` | names streams; one that `ID` lacks publishes on this field's change only |
//!
//! A tag may be the whole content of `orm:"…"`: parts separated by `;`, of which only these two are read.

use super::declaration::Stream;
use super::operation::Operations;
use crate::error::{Error, Quoted, TagFault};
use std::collections::HashMap;

/// The field whose tag applies to the whole entity.
const ENTITY_FIELD: &[u8] = b"ID";

/// A field of a struct and its tag.
pub struct Tag<'a> {
    /// The field's name.
    pub field: &'a [u8],
    /// The whole tag.
    pub tag: &'a [u8],
}

/// Pool codes and the logical databases they stand for.
pub type Pools<'a> = HashMap<&'a [u8], u32>;

/// The streams that the tags declare, with their operations and triggers.
pub fn streams(tags: &[Tag], pools: &Pools) -> Result<Vec<Stream>, Error> {
    let mut streams: Vec<Stream> = Vec::new();
    let mut indexes: HashMap<Vec<u8>, usize> = HashMap::new();
    let (of_entity, of_fields): (Vec<_>, Vec<_>) =
        tags.iter().partition(|tag| tag.field == ENTITY_FIELD);
    for tag in of_entity {
        for part in tag.parts() {
            let stream = part.declares(pools).map_err(|why| tag.fault(why))?;
            if indexes.insert(stream.key.clone(), streams.len()).is_some() {
                return Err(Error::DuplicateStream(Quoted::new(&stream.key)));
            }
            streams.push(stream);
        }
    }
    for tag in of_fields {
        for part in tag.parts() {
            let key = part.names().map_err(|why| tag.fault(why))?;
            let index = match (indexes.get(&key), &part) {
                (Some(index), _) => *index,
                (None, Part::V2(_)) => return Err(tag.fault(TagFault::UndeclaredStream)),
                (None, Part::V1(_)) => {
                    let index = streams.len();
                    indexes.insert(key.clone(), index);
                    streams.push(Stream {
                        operations: Operations::empty(),
                        ..Stream::new(&key)
                    });
                    index
                }
            };
            if let Some(stream) = streams.get_mut(index) {
                stream.triggers.insert(tag.field.to_vec());
            }
        }
    }
    Ok(streams)
}

/// One element of the comma-separated list in a tag.
enum Part<'a> {
    V1(&'a [u8]),
    V2(&'a [u8]),
}

impl<'a> Tag<'a> {
    fn parts(&self) -> impl Iterator<Item = Part<'a>> {
        let (v2, v1) = (b"dirtyStream=".as_slice(), b"dirty=".as_slice());
        self.tag.split(|&byte| byte == b';').flat_map(move |tag| {
            let list = |prefix| {
                tag.strip_prefix(prefix)
                    .into_iter()
                    .flat_map(|list: &[u8]| list.split(|&byte| byte == b','))
            };
            list(v2).map(Part::V2).chain(list(v1).map(Part::V1))
        })
    }

    fn fault(&self, why: TagFault) -> Error {
        Error::BadTag {
            field: Quoted::new(self.field),
            tag: Quoted::new(self.tag),
            why,
        }
    }
}

impl Part<'_> {
    /// The stream that this part of the entity's tag declares.
    fn declares(&self, pools: &Pools) -> Result<Stream, TagFault> {
        match self {
            Part::V1(text) => {
                let mut parts = text.split(|&byte| byte == b':');
                let mut stream = Stream::new(&v1_key(parts.next().unwrap_or_default())?);
                if let Some(words) = parts.next() {
                    stream.operations = v1_operations(words)?;
                }
                match parts.next() {
                    Some(_) => Err(TagFault::TooManyColons),
                    None => Ok(stream),
                }
            }
            Part::V2(text) => {
                let mut parts = text.splitn(3, |&byte| byte == b'/');
                let name = parts.next().filter(|name| !name.is_empty());
                let mut stream = Stream::new(name.ok_or(TagFault::EmptyName)?);
                if let Some(code) = parts.next().filter(|code| !code.is_empty()) {
                    let database = pools.get(code).copied();
                    let unmapped = || TagFault::UnmappedPool(Quoted::new(code));
                    stream.database = Some(database.ok_or_else(unmapped)?);
                }
                if let Some(letters) = parts.next().filter(|letters| !letters.is_empty()) {
                    stream.operations =
                        Operations::from_letters(letters).ok_or(TagFault::UnknownOpLetter)?;
                }
                Ok(stream)
            }
        }
    }

    /// The key of the stream that this part of a field's tag names.
    fn names(&self) -> Result<Vec<u8>, TagFault> {
        match self {
            Part::V1(text) if text.contains(&b':') => Err(TagFault::OpsOnField),
            Part::V1(name) => v1_key(name),
            Part::V2([]) => Err(TagFault::EmptyName),
            Part::V2(text) if text.contains(&b'/') => Err(TagFault::OpsOnField),
            Part::V2(name) => Ok(name.to_vec()),
        }
    }
}

fn v1_key(name: &[u8]) -> Result<Vec<u8>, TagFault> {
    if name.is_empty() {
        return Err(TagFault::EmptyName);
    }
    Ok([b"dirty_", name].concat())
}

fn v1_operations(words: &[u8]) -> Result<Operations, TagFault> {
    let mut operations = Operations::empty();
    for word in words.split(|&byte| byte == b'|') {
        operations |= match word {
            b"add" => Operations::INSERT,
            b"edit" => Operations::UPDATE,
            b"delete" => Operations::DELETE,
            _ => return Err(TagFault::UnknownOpWord),
        };
    }
    Ok(operations)
}

#[cfg(test)]
mod tests {
    use super::super::operation::Operation;
    use super::*;
    use serde::Deserialize;
    use std::collections::BTreeMap;

    #[derive(Deserialize)]
    struct Vectors {
        cases: Vec<Case>,
        bad: Vec<Bad>,
    }

    #[derive(Deserialize)]
    struct Case {
        name: String,
        tags: BTreeMap<String, String>,
        op: String,
        changed: Vec<String>,
        publishes_to: Vec<String>,
    }

    #[derive(Deserialize)]
    struct Bad {
        tags: BTreeMap<String, String>,
        why: String,
    }

    fn vectors() -> Vectors {
        serde_json::from_str(include_str!("../../../tests/vectors/decision.json")).unwrap()
    }

    fn parse(tags: &BTreeMap<String, String>) -> Result<Vec<Stream>, Error> {
        let tags: Vec<Tag> = tags
            .iter()
            .map(|(field, tag)| Tag {
                field: field.as_bytes(),
                tag: tag.as_bytes(),
            })
            .collect();
        streams(&tags, &Pools::new())
    }

    #[test]
    fn the_right_streams_publish_in_every_case_of_the_vectors() {
        for case in vectors().cases {
            let operation = match case.op.as_str() {
                "insert" => Operation::Insert,
                "update" => Operation::Update,
                "delete" => Operation::Delete,
                other => panic!("{other}"),
            };
            let mut publishing: Vec<String> = parse(&case.tags)
                .unwrap()
                .iter()
                .filter(|s| s.publishes(operation, case.changed.iter().map(|f| f.as_bytes())))
                .map(|stream| String::from_utf8(stream.key.clone()).unwrap())
                .collect();
            publishing.sort();
            assert_eq!(publishing, case.publishes_to, "{}", case.name);
        }
    }

    #[test]
    fn every_bad_tag_of_the_vectors_is_refused() {
        for bad in vectors().bad {
            assert!(parse(&bad.tags).is_err(), "{}", bad.why);
        }
    }

    #[test]
    fn a_refusal_names_the_fault() {
        use TagFault::*;
        for (field, tag, why) in [
            ("ID", "dirtyStream=/cache/I", EmptyName),
            ("ID", "dirtyStream=", EmptyName),
            ("ID", "dirtyStream=A,", EmptyName),
            ("ID", "dirty=", EmptyName),
            ("ID", "dirtyStream=S//X", UnknownOpLetter),
            ("ID", "dirtyStream=S//i", UnknownOpLetter),
            (
                "ID",
                "dirtyStream=S/cache1/U",
                UnmappedPool(Quoted::new(b"cache1")),
            ),
            ("ID", "dirty=All:add:delete", TooManyColons),
            ("ID", "dirty=All:insert", UnknownOpWord),
            ("ID", "dirty=All:", UnknownOpWord),
            ("Age", "dirty=All:add", OpsOnField),
            ("Age", "dirtyStream=S//I", OpsOnField),
            ("Age", "dirtyStream=T", UndeclaredStream),
            ("Age", "dirtyStream=", EmptyName),
        ] {
            let tag = Tag {
                field: field.as_bytes(),
                tag: tag.as_bytes(),
            };
            let expected = tag.fault(why);
            assert_eq!(streams(&[tag], &Pools::new()), Err(expected));
        }
    }

    #[test]
    fn a_pool_code_maps_to_its_database() {
        let tag = Tag {
            field: b"ID",
            tag: b"required;dirtyStream=A/cache1/U,B//;unique",
        };
        let pools = Pools::from([(b"cache1".as_slice(), 3)]);
        let streams = streams(&[tag], &pools).unwrap();
        assert_eq!(streams.len(), 2);
        assert_eq!(streams[0].database, Some(3));
        assert_eq!(streams[0].operations, Operations::UPDATE);
        assert_eq!(streams[1].database, None);
        assert_eq!(streams[1].operations, Operations::all());
    }
}
