//! What an operator's bad day brings: servers that die under load, disks that are full, keys that are
//! moved about. What was acknowledged is there, whole, once and in order.

mod disk;
mod load;
mod memory;
mod moved;
