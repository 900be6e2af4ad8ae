//! Events of one key in order, those of others in parallel, and nobody stuck.

mod load;
mod pending;
mod stuck;
