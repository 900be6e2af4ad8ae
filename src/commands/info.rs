use crate::redis::reply::Reply;
use crate::server::command::{Arity, Call, Command, KeyUse};
use crate::store::declarations;
use dirty_streams_core::entity::declaration::Stream;
use dirty_streams_core::error::Error;
use dirty_streams_core::keyword::Keyword;
use dirty_streams_core::syntax::{Arg, key};
use std::ffi::CStr;

/// ```text
/// DIRTY.INFO key
/// ```
///
/// Replies the declaration as a map, every option with its value in force.
pub struct Info;

impl Command for Info {
    const NAME: &'static CStr = c"dirty.info";
    const SUMMARY: &'static CStr = c"Returns a declaration, every option with its value in force.";
    const COMPLEXITY: &'static CStr = c"O(N) for N streams, triggers and types.";
    const ARGS: &'static [Arg] = &[key(c"key")];
    const FLAGS: &'static CStr = c"readonly";
    const KEY_USE: KeyUse = KeyUse::Read;
    const DATA: &'static [&'static str] = &[];
    const ARITY: Arity = Arity::Exactly(0);

    fn run(call: &Call) -> Result<(), Error> {
        let declaration = declarations::load(call.ctx, &call.key)?;
        let reply = call.reply();
        reply.map(9);
        reply.bytes("name");
        reply.bytes(&declaration.name);
        reply.bytes("prefix");
        reply.bytes(&declaration.prefix);
        reply.bytes("revision");
        number(reply, declaration.revision);
        let version = declaration.version.as_ref();
        reply.bytes("stateless");
        reply.boolean(declaration.stateless);
        reply.bytes("version");
        text(reply, version.map(|version| &version.field));
        reply.bytes("tombstone");
        number(reply, version.map(|version| version.tombstone_ms));
        reply.bytes("softdelete");
        text(reply, declaration.soft_delete.as_ref());
        reply.bytes("types");
        reply.map(declaration.types.len());
        for (field, field_type) in &declaration.types {
            reply.bytes(field);
            reply.bytes(field_type.name().as_bytes());
        }
        reply.bytes("streams");
        reply.array(declaration.streams.len());
        for stream in &declaration.streams {
            describe(reply, stream);
        }
        Ok(())
    }
}

fn describe(reply: Reply, stream: &Stream) {
    reply.map(11);
    reply.bytes("stream");
    reply.bytes(&stream.key);
    reply.bytes("ops");
    reply.bytes(stream.operations.name());
    reply.bytes("fields");
    reply.array(stream.triggers.len());
    for field in &stream.triggers {
        reply.bytes(field);
    }
    let max_len = stream.max_len;
    reply.bytes("maxlen");
    text(
        reply,
        max_len.map(|max_len| format!("{} {}", max_len.sign(), max_len.count)),
    );
    reply.bytes("onfull");
    text(reply, max_len.map(|max_len| max_len.on_full.name()));
    reply.bytes("maxage");
    number(reply, stream.max_age_ms);
    reply.bytes("payload");
    reply.bytes(stream.payload.name());
    reply.bytes("format");
    reply.bytes(stream.format.name());
    reply.bytes("idfield");
    text(reply, stream.id_field.as_ref());
    reply.bytes("safenumbers");
    reply.boolean(stream.safe_numbers);
    reply.bytes("db");
    number(reply, stream.database.map(u64::from));
}

fn text(reply: Reply, text: Option<impl AsRef<[u8]>>) {
    match text {
        Some(text) => reply.bytes(text),
        None => reply.null(),
    }
}

fn number(reply: Reply, number: Option<u64>) {
    match number {
        Some(number) => reply.unsigned(number),
        None => reply.null(),
    }
}
