//! The rules, against tables, random histories and hostile bytes.

mod cursors;
mod fake;
mod histories;
mod hostile;
mod native;
mod story;
mod tables;
mod world;
