//! Models of readers, and a stream in memory, for random histories: those of the tests and of the fuzz targets.

pub mod fake;
pub mod folding;
pub mod rich;
pub mod world;
