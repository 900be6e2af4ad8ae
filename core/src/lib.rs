//! The rules of the module Dirty Streams, without Redis: how the arguments of a command become stored snapshots,
//! published events and a reply. The module's own crate builds on them.
//!
//! | module | contents |
//! | --- | --- |
//! | [`args`], [`keyword`], [`syntax`] | the cursor over a command's arguments, options that take a keyword, the tables behind COMMAND DOCS |
//! | [`error`] | every error that a client can get |
//! | [`entity`] | the domain: declarations, tags, values, snapshots, events |
//! | [`encoding`] | bytes and back: events as entries, fields as clients send them, declarations as stored |
//! | [`flush`] | a flush, from its arguments to the plan of its writes and events |
//! | [`reading`] | the requests of readers, and the filters that select their events |
//! | [`reconcile`] | the runs of a reconciliation |
//! | [`slot`], [`unique`] | cluster slots; the search for duplicate names |

#![forbid(unsafe_code)]
#![deny(missing_docs)]
// Cargo.toml denies whatever may panic. Tests may: that is how they fail.
#![cfg_attr(
    any(test, fuzzing),
    allow(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::get_unwrap,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::todo,
        clippy::unimplemented,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

pub mod acl;
pub mod args;
pub mod encoding;
pub mod entity;
pub mod error;
pub mod flush;
#[cfg(any(test, fuzzing))]
#[allow(missing_docs)]
pub mod fuzz;
pub mod keyword;
pub mod reading;
pub mod reconcile;
pub mod slot;
pub mod syntax;
pub mod unique;
