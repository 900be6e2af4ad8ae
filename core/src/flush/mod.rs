//! A flush, from its arguments to the plan of what is written and published. Nothing here knows Redis.

mod diff;
mod outcome;
mod parse;
mod plan;
mod planner;
mod publish;
mod request;
mod state;
mod stateless;
pub mod stored;

pub use outcome::{Answer, Details, Effect, Outcome};
pub use parse::Parsed;
pub use plan::{check, plan};
pub use planner::{Plan, Publication, Step};
pub use request::{Request, Requests};
pub use state::{EntityState, Snapshots, Write};
