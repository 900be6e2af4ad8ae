//! The plan so far, and the field budget of one command.

use super::outcome::Effect;
use super::state::Write;
use crate::encoding::event::{Entry, Origin};
use crate::entity::declaration::{Declaration, Stream};
use crate::entity::event::{Change, Pair};
use crate::entity::limits::Limits;
use crate::error::Error;

/// The effects of flushes.
#[derive(Debug, Default)]
pub struct Plan<'a> {
    /// For each flush the steps of its operations, in order.
    pub flushes: Vec<Vec<Step<'a>>>,
    /// The encoded events. Streams with the same payload and format share an entry.
    pub entries: Vec<Entry>,
}

impl<'a> Plan<'a> {
    /// The steps of all flushes.
    pub fn steps(&self) -> impl Iterator<Item = &Step<'a>> {
        self.flushes.iter().flatten()
    }
}

/// The effect of one operation.
#[derive(Debug)]
pub struct Step<'a> {
    /// The entity's id.
    pub id: &'a [u8],
    /// The effect that the reply names.
    pub effect: Effect,
    /// The names of the changed fields, if the reply lists them and the events.
    pub changed: Option<Vec<Vec<u8>>>,
    /// The change of the stored snapshot, if there is one.
    pub write: Option<Write<'a>>,
    /// The events to append, in order.
    pub publications: Vec<Publication>,
}

/// An event for a stream; both are given by index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publication {
    /// The index of the stream among those of the declaration.
    pub stream: usize,
    /// The index of the entry among those of the plan.
    pub entry: usize,
}

pub(super) struct Planner<'d, 'a> {
    pub declaration: &'d Declaration,
    pub origin: Origin<'d>,
    pub limits: Limits,
    /// META of the current flush.
    pub meta: Vec<Pair<'a>>,
    pub with_events: bool,
    /// FORCE of the current flush.
    pub force: bool,
    /// Whether the current flush repairs what is stored with the same version.
    pub repairs: bool,
    /// Whether limits hold for the fields that the current flush gives. Those of a flush that waited were checked
    /// when it came.
    pub limited: bool,
    /// A stream whose format has numeric ids only.
    pub numeric: Option<&'d Stream>,
    pub plan: Plan<'a>,
    /// The size of all events so far.
    pub bytes: usize,
    /// The part of the field budget that is spent.
    fields_spent: usize,
}

/// The number of fields that the operations of one command may look at. Each field counts when it is loaded,
/// given, written or copied into an image, and each change counts once for every stream. A million takes about
/// 0.2 s.
const FIELD_BUDGET: usize = 10_000_000;

impl<'d, 'a> Planner<'d, 'a> {
    /// The plan of nothing yet, with room for this many flushes.
    pub fn new(
        declaration: &'d Declaration,
        origin: Origin<'d>,
        limits: Limits,
        flushes: usize,
    ) -> Self {
        let mut streams = declaration.streams.iter();
        Planner {
            declaration,
            origin,
            limits,
            meta: Vec::new(),
            with_events: false,
            force: false,
            repairs: false,
            limited: true,
            numeric: streams.find(|stream| stream.format.has_numeric_ids()),
            plan: Plan {
                flushes: Vec::with_capacity(flushes),
                entries: Vec::new(),
            },
            bytes: 0,
            fields_spent: 0,
        }
    }

    /// Spends a part of the field budget. The first operation may exceed it, since other limits bound an operation.
    pub fn spend(&mut self, fields: usize) -> Result<(), Error> {
        self.fields_spent = self.fields_spent.saturating_add(fields);
        match self.fields_spent > FIELD_BUDGET && self.plan.steps().next().is_some() {
            true => Err(Error::FieldBudgetExceeded(FIELD_BUDGET)),
            false => Ok(()),
        }
    }

    /// The step of an operation that changes nothing.
    pub fn nothing(&self, id: &'a [u8], effect: Effect) -> Step<'a> {
        self.done(id, effect, &[], None, Vec::new())
    }

    pub fn done(
        &self,
        id: &'a [u8],
        effect: Effect,
        changes: &[Change],
        write: Option<Write<'a>>,
        publications: Vec<Publication>,
    ) -> Step<'a> {
        Step {
            id,
            effect,
            changed: self.changed(changes),
            write,
            publications,
        }
    }

    /// The names of the changed fields, if the reply lists them.
    pub fn changed(&self, changes: &[Change]) -> Option<Vec<Vec<u8>>> {
        let names = || changes.iter().map(|change| change.field.to_vec());
        self.with_events.then(|| names().collect())
    }
}
