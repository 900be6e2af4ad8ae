use crate::entity::declaration::Stream;
use crate::error::Error;
use crate::redis::declarations;
use crate::redis::entry::{Call, Command, KeyUse};
use crate::redis::reply::Reply;
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
    const FLAGS: &'static CStr = c"readonly";
    const KEY_USE: KeyUse = KeyUse::Read;
    const MIN_ARGS: usize = 0;

    fn run(call: &Call) -> Result<(), Error> {
        if !call.args.is_empty() {
            return Err(Error::WrongArity("dirty.info"));
        }
        let declaration = declarations::load(call.ctx, &call.key)?;
        let reply = call.reply();
        reply.map(4);
        reply.bytes("name");
        reply.bytes(&declaration.name);
        reply.bytes("prefix");
        reply.bytes(&declaration.prefix);
        reply.bytes("types");
        reply.map(declaration.types.len());
        for (field, field_type) in &declaration.types {
            reply.bytes(field);
            reply.bytes(field_type.name());
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
    reply.map(7);
    reply.bytes("stream");
    reply.bytes(&stream.key);
    reply.bytes("ops");
    reply.bytes(stream.operations.name());
    reply.bytes("fields");
    reply.array(stream.triggers.len());
    for field in &stream.triggers {
        reply.bytes(field);
    }
    reply.bytes("maxlen");
    match stream.max_len {
        Some(max_len) => reply.bytes(format!("{} {}", max_len.sign(), max_len.count)),
        None => reply.null(),
    }
    reply.bytes("payload");
    reply.bytes(stream.payload.name());
    reply.bytes("format");
    reply.bytes("MSGPACK");
    reply.bytes("db");
    match stream.database {
        Some(index) => reply.integer(index.into()),
        None => reply.null(),
    }
}
