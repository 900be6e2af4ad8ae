//! The runs of reconciliations, in the memory of the primary alone: one a declaration.
//!
//! A run belongs to the declaration's value. It has ended for users when that is no longer at its key, or is another
//! one. But flushes are told to it wherever the value is: whatever key leads to it, they name the same snapshots.

use super::declarations::Declared;
use super::walk::Place;
use crate::redis::server_events::{Event, EventListener, listen};
use crate::redis::timer::{Alarm, Timer};
use crate::redis::{clock, keys};
use dirty_streams_core::error::{Error, Quoted};
use dirty_streams_core::reconcile::{Phase, Run};
use redis_module::{Context, RedisString};
use std::cell::RefCell;
use std::ffi::c_int;

/// A run ends when nobody has asked for it for so long.
const SILENCE_MS: u64 = 60 * 60 * 1000;

/// A run, and where SWEEP is.
pub struct Active {
    pub run: Run,
    /// Where SWEEP counts on.
    pub place: Place,
    database: c_int,
    key: Vec<u8>,
    declaration: Declared,
    asked_ms: u64,
}

thread_local! {
    /// Of the main thread, on which all commands and callbacks run.
    static RUNS: RefCell<Vec<Active>> = const { RefCell::new(Vec::new()) };
}

pub fn register(ctx: &Context) -> bool {
    listen::<Role>(ctx, Event::RoleChanged) && listen::<Role>(ctx, Event::Loading)
}

/// What another primary has written meanwhile, nobody has told to the runs here.
struct Role;

impl EventListener for Role {
    const ENTRY: &'static str = "a changed role";

    fn on_event(_ctx: &Context) {
        RUNS.with(|runs| {
            if let Ok(mut runs) = runs.try_borrow_mut() {
                runs.clear();
            }
        });
    }
}

struct Silence;

impl Alarm for Silence {
    const ENTRY: &'static str = "a run's end";

    fn ring(ctx: &Context) {
        let left = with(|runs| {
            forget_silent(runs);
            Ok(!runs.is_empty())
        });
        if left.unwrap_or(false) {
            let _ = Timer::set::<Silence>(ctx, SILENCE_MS);
        }
    }
}

fn with<T>(act: impl FnOnce(&mut Vec<Active>) -> Result<T, Error>) -> Result<T, Error> {
    RUNS.with(|runs| act(&mut *runs.try_borrow_mut().map_err(|_| Error::Internal)?))
}

fn forget_silent(runs: &mut Vec<Active>) {
    let now_ms = clock::now_ms();
    runs.retain(|active| now_ms.saturating_sub(active.asked_ms) < SILENCE_MS);
}

/// Where a run is: at a key that holds this declaration.
pub struct Home<'h> {
    pub key: &'h RedisString,
    pub database: c_int,
    pub declaration: &'h Declared,
}

impl<'h> Home<'h> {
    pub fn new(ctx: &Context, key: &'h RedisString, declaration: &'h Declared) -> Self {
        Home {
            key,
            database: keys::current_database(ctx),
            declaration,
        }
    }

    fn is_of(&self, active: &Active) -> bool {
        self.is_at(active) && active.declaration.is(self.declaration)
    }

    fn is_at(&self, active: &Active) -> bool {
        active.database == self.database && active.key == self.key.as_slice()
    }

    /// Begins a run, unless another one has not ended. To begin the same again, before anything came of it, is to have
    /// lost the reply.
    pub fn begin(&self, ctx: &Context, name: &[u8]) -> Result<(), Error> {
        with(|runs| {
            forget_silent(runs);
            let standing = runs.iter().find(|active| self.is_of(active));
            if let Some(Active { run, .. }) = standing {
                match run.phase() {
                    Phase::Rows if run.name() == name => return Ok(()),
                    Phase::Done => {}
                    _ => {
                        return Err(Error::RunExists {
                            run: Quoted::new(run.name()),
                            key: Quoted::new(self.key),
                        });
                    }
                }
            }
            runs.retain(|active| !self.is_at(active));
            if runs.is_empty() {
                let _ = Timer::set::<Silence>(ctx, SILENCE_MS);
            }
            runs.push(Active {
                run: Run::new(name),
                place: Place::beginning(),
                database: self.database,
                key: self.key.to_vec(),
                declaration: self.declaration.clone(),
                asked_ms: clock::now_ms(),
            });
            Ok(())
        })
    }

    /// Looks at a run, or changes it. While this goes on no key may be touched: others may flush in answer to that.
    pub fn ask<T>(
        &self,
        name: &[u8],
        act: impl FnOnce(&mut Active) -> Result<T, Error>,
    ) -> Result<T, Error> {
        with(|runs| {
            forget_silent(runs);
            let mut runs = runs.iter_mut();
            let active = runs.find(|active| self.is_of(active) && active.run.name() == name);
            match active {
                None => Err(self.no_run(name)),
                Some(active) => {
                    active.asked_ms = clock::now_ms();
                    act(active)
                }
            }
        })
    }

    pub fn no_run(&self, name: &[u8]) -> Error {
        Error::NoRun {
            run: Quoted::new(name),
            key: Quoted::new(self.key),
        }
    }

    /// Ends a run. Whether there was one.
    pub fn abort(&self, name: &[u8]) -> Result<bool, Error> {
        with(|runs| {
            let before = runs.len();
            runs.retain(|active| !(self.is_of(active) && active.run.name() == name));
            Ok(runs.len() < before)
        })
    }
}

/// A flush without RUN, or a COMMIT, has named these ids.
pub fn see_others<'i>(declaration: &Declared, ids: impl Iterator<Item = &'i [u8]>) {
    RUNS.with(|runs| {
        let Ok(mut runs) = runs.try_borrow_mut() else {
            return;
        };
        let mut runs = runs.iter_mut();
        if let Some(active) = runs.find(|active| active.declaration.is(declaration)) {
            ids.for_each(|id| active.run.see_other(id));
        }
    });
}
