//! The fields of a flush as a client sends them in one argument, with the types that the format gives
//! their values. Nested values are JSON text of the type json.

mod flat_json;
#[allow(missing_docs)]
pub mod json;
#[allow(missing_docs)]
pub mod msgpack;
