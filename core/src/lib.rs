//! What the module Dirty Streams decides, without Redis: from what a client sends to what is stored,
//! published and replied. The module's own crate stands on it.
//!
//! | module | what is in it |
//! | --- | --- |
//! | [`args`], [`keyword`], [`syntax`] | the cursor over a command's arguments, options that are one of a few words, what COMMAND DOCS says of them |
//! | [`error`] | every error that a client is answered |
//! | [`entity`] | the domain: declarations, tags, values, snapshots, events |
//! | [`encoding`] | bytes and back: events as entries, fields as clients send them, declarations as stored |
//! | [`flush`] | a flush from its arguments to the plan of what is written and published |
//! | [`reading`] | what readers ask for, and which events they want |
//! | [`slot`], [`unique`] | cluster slots; what is found twice |

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
pub mod slot;
pub mod syntax;
pub mod unique;
