//! The declaration as a data type of its own, `dirtydecl`: an RDB file, an AOF rewrite and DUMP hold it as
//! the arguments of DIRTY.DECLARE that make it.

use super::writes::Writes;
use crate::redis::data_type::{DataType, Entries, PayloadReader, PayloadWriter, Value};
use crate::redis::keys::{self, Key, Type, wrong_type};
use crate::redis::keyspace::Class;
use crate::redis::log;
use dirty_streams_core::args::Args;
use dirty_streams_core::encoding;
use dirty_streams_core::entity::declaration::{Declaration, Replacement};
use dirty_streams_core::error::{Error, Quoted};
use redis_module::{Context, RedisString};
use std::ffi::CStr;
use std::ops::Deref;
use std::sync::Arc;

/// Of the bytes in an RDB file or a DUMP, as this version of the module writes them. Which other ones it
/// reads stands in `read`: all earlier ones, so that every file of an older module loads.
const ENCODING_VERSION: i32 = 1;

const EXPECTED: &str = "a declaration";

/// The command that makes a declaration, with what `encode` tells of it behind the key.
const COMMAND: &CStr = c"DIRTY.DECLARE";

/// Not one of the server's events, so its class is that of modules.
const DECLARED: &CStr = c"dirty.declare";

static TYPE: DataType<DeclarationValue> = DataType::new();

/// A declaration as a value of the data type.
struct DeclarationValue(Declaration);

pub fn register(ctx: &Context) -> bool {
    TYPE.register(ctx)
}

/// The entity type declared at a key, as long as somebody needs it.
#[derive(Clone)]
pub struct Declared(Arc<DeclarationValue>);

impl Declared {
    /// Whether these are one value, which no DECLARE has replaced. COPY makes no other value.
    pub fn is(&self, other: &Declared) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Deref for Declared {
    type Target = Declaration;

    fn deref(&self) -> &Declaration {
        &self.0.0
    }
}

/// The entity type declared at a key. It is shared, not lent: opening other keys may expire them, and
/// another module may answer that by deleting this one.
pub fn load(ctx: &Context, name: &RedisString) -> Result<Declared, Error> {
    get(ctx, name)?.ok_or_else(|| Error::NoDeclaration(Quoted::new(name)))
}

/// Whether a key holds a declaration; `None` if there is no such key.
pub fn is_at(ctx: &Context, name: &RedisString) -> Option<bool> {
    let key = Key::glance(ctx, name);
    (!key.is_missing()).then(|| TYPE.is_of(&key))
}

/// Declares, unless the one that stands is the same or has a higher revision. A primary's word is always taken: a
/// replica or AOF may hold another revision than the primary compared with.
pub fn put(
    writes: &mut Writes,
    name: &RedisString,
    new: Declaration,
    is_trusted: bool,
) -> Result<Replacement, Error> {
    let ctx = writes.context();
    let standing = get(ctx, name)?;
    let replacement = match (is_trusted, &standing) {
        (true, Some(standing)) if **standing == new => Replacement::Same,
        (true, _) => Replacement::New,
        (false, standing) => new.replaces(standing.as_deref(), name)?,
    };
    if replacement != Replacement::New {
        return Ok(replacement);
    }
    let args = encoding::declaration::encode(&new);
    let args: Vec<RedisString> = args.iter().map(|arg| keys::string(arg)).collect();
    let mut key = Key::write(ctx, name);
    TYPE.set(&mut key, Arc::new(DeclarationValue(new)));
    writes.replicate(COMMAND, name, &args);
    writes.changed(name, Class::Module, DECLARED, None);
    Ok(Replacement::New)
}

fn get(ctx: &Context, name: &RedisString) -> Result<Option<Declared>, Error> {
    let key = Key::read(ctx, name);
    if !key.holds(name, Type::Module, EXPECTED)? {
        return Ok(None);
    }
    match TYPE.get(&key) {
        Some(stored) => Ok(Some(Declared(stored))),
        None => Err(wrong_type(name, EXPECTED)),
    }
}

impl Value for DeclarationValue {
    const NAME: &'static str = "dirtydecl";
    const ENCODING_VERSION: i32 = ENCODING_VERSION;
    const ENTRIES: Entries = Entries {
        load: "loading a declaration",
        save: "saving a declaration",
        rewrite: "rewriting a declaration",
        measure: "measuring a declaration",
        digest: "digesting a declaration",
        free: "freeing a declaration",
        copy: "copying a declaration",
    };
    const COMMAND: &'static CStr = COMMAND;

    /// All is made before the first part is written.
    fn save(&self, writer: &mut PayloadWriter) {
        let args = encoding::declaration::encode(&self.0);
        writer.unsigned(u64::try_from(args.len()).unwrap_or(0));
        for arg in args {
            writer.bytes(&arg);
        }
    }

    fn load(version: i32, reader: &mut PayloadReader) -> Option<Self> {
        match version {
            1 => load_1(reader).map(DeclarationValue),
            // The meaning of its bytes is not known, so none is read. The server says that it cannot load them.
            _ => {
                log::warning(&format!(
                    "a declaration is stored in encoding version {version}, but this version \
                     of the module reads {ENCODING_VERSION} at most: load it with the version \
                     that wrote it, or a later one"
                ));
                None
            }
        }
    }

    fn rewrite(&self, command: &mut dyn FnMut(&[&[u8]])) {
        let args = encoding::declaration::encode(&self.0);
        let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        command(&args);
    }

    fn digest(&self, part: &mut dyn FnMut(&[u8])) {
        for arg in encoding::declaration::encode(&self.0) {
            part(&arg);
        }
    }

    fn memory(&self) -> usize {
        self.0.memory()
    }

    fn free_effort(&self) -> usize {
        1
    }

    fn copy(shared: &Arc<Self>) -> Arc<Self> {
        Arc::clone(shared)
    }
}

/// An unsigned n, then n strings: the arguments of DIRTY.DECLARE.
fn load_1(reader: &mut PayloadReader) -> Option<Declaration> {
    let count = reader.unsigned()?;
    let mut args = Vec::new(); // no capacity on the payload's word
    for _ in 0..count {
        args.push(reader.bytes()?);
    }
    let args: Vec<&[u8]> = args.iter().map(AsRef::as_ref).collect();
    // No key is known here, and none is needed: what is saved has NAME and PREFIX.
    encoding::declaration::decode_stored(b"", Args::new(&args)).ok()
}
