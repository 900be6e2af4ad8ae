//! In a cluster: all keys of a declaration in one slot, slots that are moved, primaries that die.

mod atomic;
mod load;
mod moving;
mod nodes;
mod pair;
mod pipeline;
mod readers;
mod slots;
mod snapshots;
mod waiting;
