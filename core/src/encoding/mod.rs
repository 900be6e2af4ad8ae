//! The codecs, each in its own file: events as stream entries, the fields that clients send as JSON or
//! MessagePack, and declarations as they are stored.

pub mod declaration;
pub mod event;
pub mod input;
mod plain;
pub mod text;
