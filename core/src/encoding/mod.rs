//! Bytes and back, each codec in its own file: events as stream entries carry them, the fields that
//! clients send as JSON or MessagePack, declarations as they are stored.

pub mod declaration;
pub mod event;
pub mod input;
pub mod text;
