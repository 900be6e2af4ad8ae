//! The rules, against tables, random histories and hostile bytes.

mod cursors;
mod histories;
mod hostile;
mod native;
mod orders;
mod snapshots;
mod story;
mod tables;
mod turns;
