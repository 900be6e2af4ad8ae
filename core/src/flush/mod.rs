//! A flush, from its arguments to the plan of its writes and events. Nothing here knows Redis.

mod action;
mod diff;
mod outcome;
mod parse;
mod plan;
mod planner;
mod publish;
mod soft_delete;
mod state;
mod stateless;
pub mod stored;
mod versioning;

pub use action::{Action, Flush};
pub use outcome::{Answer, Details, Effect, Outcome};
pub use parse::{Ack, Options, Request};
pub use plan::{check, plan};
pub use planner::{Plan, Publication, Step};
pub use state::{EntityState, Snapshots, Write};
