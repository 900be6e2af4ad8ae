//! The module as the server sees it: its commands and who may call them, its settings, its counters.

#![deny(unsafe_code)]

#[allow(unsafe_code)]
pub mod acl_categories;
#[allow(unsafe_code)]
pub mod blocking;
pub mod command;
#[allow(unsafe_code)]
pub mod config;
#[allow(unsafe_code)]
pub mod dispatch;
#[allow(unsafe_code)]
pub mod docs;
#[allow(unsafe_code)]
pub mod eviction;
#[allow(unsafe_code)]
pub mod rights;
#[allow(unsafe_code)]
pub mod stats;
