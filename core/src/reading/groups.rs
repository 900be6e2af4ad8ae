//! Consumer groups.

/// The consumer that holds entries that are due at once: those of a consumer that left, and those that failed. It never
/// reads.
pub const LEFT: &[u8] = b"dirty:left";
