//! Consumer groups.

/// The consumer that holds entries that are due at once: those of consumers that left, and those that failed with
/// NOW. It never reads.
pub const LEFT: &[u8] = b"dirty:left";
