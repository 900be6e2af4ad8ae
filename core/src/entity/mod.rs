//! The domain: what a declaration says, the values and the state of an entity, its events. Nothing here
//! knows Redis.

pub mod decimal;
pub mod declaration;
pub mod event;
pub mod event_id;
pub mod field;
pub mod json;
pub mod limits;
pub mod operation;
pub mod snapshot;
pub mod tags;
pub mod value;
