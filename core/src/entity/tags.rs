//! The tags of FluxaORM's structs, both generations, word for word.
//!
//! | tag | generation | on `ID` | on another field |
//! | --- | --- | --- | --- |
//! | `dirtyStream=Name/pool/ops,…` | 2 | declares streams; pool and ops (letters of `IUD`) may be empty or left out | names streams that `ID` declares |
//! | `dirty=Name:add\|edit\|delete,…` | 1 | declares streams at the keys `dirty_Name` | names streams; one that `ID` lacks publishes on this field's change only |
//!
//! The streams have the format of their tag's generation. One that the tags of `ID` declare twice has the operations
//! of both.
//!
//! A tag may be the whole content of `orm:"…"`: parts separated by `;`, of which only these two are read. It may also
//! be all that stands behind the field in the source, `orm:"…" json:"…"`, with backquotes or without. Any other double
//! quote or backquote is an error.

use super::declaration::{Format, Payload, Stream};
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
        for part in tag.parts().map_err(|why| tag.fault(why))? {
            let stream = part.declares(pools).map_err(|why| tag.fault(why))?;
            let known = indexes.get(&stream.key);
            let Some(known) = known.and_then(|index| streams.get_mut(*index)) else {
                indexes.insert(stream.key.clone(), streams.len());
                streams.push(stream);
                continue;
            };
            // Neither can be joined.
            if known.database != stream.database || known.format != stream.format {
                return Err(Error::DuplicateStream(Quoted::new(&stream.key)));
            }
            known.operations |= stream.operations;
        }
    }
    for tag in of_fields {
        for part in tag.parts().map_err(|why| tag.fault(why))? {
            let key = part.names().map_err(|why| tag.fault(why))?;
            let index = match (indexes.get(&key), &part) {
                (Some(index), _) => *index,
                (None, Part::V2(_)) => return Err(tag.fault(TagFault::UndeclaredStream)),
                (None, Part::V1(_)) => {
                    let index = streams.len();
                    indexes.insert(key.clone(), index);
                    streams.push(Stream {
                        operations: Operations::empty(),
                        ..v1_stream(&key)
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
    fn parts(&self) -> Result<impl Iterator<Item = Part<'a>>, TagFault> {
        let (v2, v1) = (b"dirtyStream=".as_slice(), b"dirty=".as_slice());
        let parts = self.orm()?.split(|&byte| byte == b';');
        Ok(parts.flat_map(move |tag| {
            let list = |prefix| {
                tag.strip_prefix(prefix)
                    .into_iter()
                    .flat_map(|list: &[u8]| list.split(|&byte| byte == b','))
            };
            list(v2).map(Part::V2).chain(list(v1).map(Part::V1))
        }))
    }

    /// The content of `orm:"…"`: the tag itself, if it has no quotes.
    fn orm(&self) -> Result<&'a [u8], TagFault> {
        if !self.tag.contains(&b'"') && !self.tag.contains(&b'`') {
            return Ok(self.tag);
        }
        let mut rest = match self.tag {
            [b'`', inner @ .., b'`'] => inner,
            tag => tag,
        };
        let mut orm = None;
        // As Go's reflect.StructTag reads it.
        loop {
            rest = rest.trim_ascii_start();
            if rest.is_empty() {
                return Ok(orm.unwrap_or_default());
            }
            let mut halves = rest.splitn(3, |&byte| byte == b'"');
            let key = halves.next().and_then(|key| key.strip_suffix(b":"));
            let (Some(key), Some(value), Some(behind)) = (key, halves.next(), halves.next()) else {
                return Err(TagFault::Quote);
            };
            let is_name =
                |&byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b':' | b'`' | b'\\');
            let is_odd = value.iter().any(|byte| matches!(byte, b'`' | b'\\'));
            if key.is_empty() || !key.iter().all(is_name) || is_odd {
                return Err(TagFault::Quote);
            }
            if key == b"orm" {
                orm = orm.or(Some(value));
            }
            rest = behind;
        }
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
                let mut stream = v1_stream(&v1_key(parts.next().unwrap_or_default())?);
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
                let mut stream = Stream {
                    format: Format::FluxaOrm2,
                    ..Stream::new(name.ok_or(TagFault::EmptyName)?)
                };
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

fn v1_stream(key: &[u8]) -> Stream {
    Stream {
        format: Format::FluxaOrm1,
        payload: Payload::Full,
        ..Stream::new(key)
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
    use crate::keyword::Keyword;
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

    /// What a tag of ID declares, in short: each stream with its operations and format.
    fn told(tag: &str) -> Result<String, Error> {
        let tag = Tag {
            field: b"ID",
            tag: tag.as_bytes(),
        };
        let pools = Pools::from([(b"p".as_slice(), 3)]);
        let streams = streams(&[tag], &pools)?;
        let told = streams.iter().map(|stream| {
            let key = String::from_utf8_lossy(&stream.key);
            let (ops, format) = (stream.operations.name(), stream.format.name());
            assert_eq!(
                stream.format.payloads().first(),
                Some(&stream.payload),
                "{key}"
            );
            format!("{key} {ops} {format}")
        });
        Ok(told.collect::<Vec<_>>().join(", "))
    }

    #[test]
    fn a_stream_that_is_declared_twice_has_the_operations_of_both() {
        for (tag, expected) in [
            ("dirty=A:add,A:delete", "dirty_A ID FLUXAORM1"),
            (
                "dirty=A:add|edit,B,A:add",
                "dirty_A IU FLUXAORM1, dirty_B IUD FLUXAORM1",
            ),
            ("dirty=A:add,A", "dirty_A IUD FLUXAORM1"),
            ("dirty=A:add;dirty=A:edit", "dirty_A IU FLUXAORM1"),
            (
                "dirtyStream=A//I,B//D,A//U",
                "A IU FLUXAORM2, B D FLUXAORM2",
            ),
            ("dirtyStream=A/p/I,A/p/D", "A ID FLUXAORM2"),
            (
                "dirty=A:add;dirtyStream=A//D",
                "dirty_A I FLUXAORM1, A D FLUXAORM2",
            ),
        ] {
            assert_eq!(told(tag).as_deref(), Ok(expected), "{tag}");
        }
        for (tag, stream) in [
            ("dirtyStream=A/p/I,A//D", "A"),
            ("dirty=A;dirtyStream=dirty_A", "dirty_A"),
        ] {
            let refused = Error::DuplicateStream(Quoted::new(stream.as_bytes()));
            assert_eq!(told(tag), Err(refused), "{tag}");
        }
    }

    #[test]
    fn a_tag_may_stand_as_in_the_source_and_no_other_quote_is_taken() {
        for (tag, expected) in [
            (r#"orm:"redisCache;dirtyStream=U""#, "U IUD FLUXAORM2"),
            (r#"`orm:"redisCache;dirtyStream=U"`"#, "U IUD FLUXAORM2"),
            (
                r#"json:"id,omitempty" orm:"dirty=U:add"  xml:"a b""#,
                "dirty_U I FLUXAORM1",
            ),
            (r#"orm:"dirty=U" orm:"dirty=V""#, "dirty_U IUD FLUXAORM1"),
            (r#"orm:"dirty=U"json:"x""#, "dirty_U IUD FLUXAORM1"),
            (r#"json:"dirty=U""#, ""),
            (r#"orm:"""#, ""),
            ("`dirty=U`", "refused"),
            (r#"redisCache;dirtyStream=U""#, "refused"),
            (r#"orm:"redisCache;dirtyStream=U"#, "refused"),
            (r#"dirtyStream="U""#, "refused"),
            (r#""dirtyStream=U""#, "refused"),
            (r#""""#, "refused"),
            (r#"`"#, "refused"),
            (r#"`orm:"dirty=U""#, "refused"),
            (r#"orm:"dirty=U"`"#, "refused"),
            (r#"orm:"dirty=`U""#, "refused"),
            (r#"orm:"dirty=U\"x""#, "refused"),
            (r#"orm:"dirty=U" json"#, "refused"),
            (r#"json orm:"dirty=U""#, "refused"),
            (r#"orm: "dirty=U""#, "refused"),
        ] {
            let found = told(tag);
            match expected {
                "refused" => {
                    let refusal = found.map_err(|error| error.to_string());
                    let why = "the quotes are not those of a Go struct tag";
                    assert!(
                        refusal.as_ref().is_err_and(|text| text.ends_with(why)),
                        "{tag}: {refusal:?}"
                    );
                }
                expected => assert_eq!(found.as_deref(), Ok(expected), "{tag}"),
            }
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
