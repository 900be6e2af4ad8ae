//! The module as the server sees it: its commands and who may call them, its settings, its counters.

#![forbid(unsafe_code)]

pub mod acl_categories;
pub mod command;
pub mod config;
pub mod dispatch;
pub mod docs;
pub mod eviction;
pub mod rights;
pub mod stats;
pub mod waiting;
