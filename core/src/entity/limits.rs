//! These settings bound how long one command can block the server and how much memory it can use.

use super::field::Field;
use crate::error::{Error, Quoted};

/// The limits in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Fields of one entity, of META, and of WHERE.
    pub fields: usize,
    /// Operations of one command.
    pub ops: usize,
    /// Bytes of one value, a name or an id.
    pub value_bytes: usize,
    /// Bytes of all events of one command.
    pub event_bytes: usize,
}

/// The setting of [`Limits::fields`].
pub const FIELDS: &str = "dirty.max-fields";
/// The setting of [`Limits::ops`].
pub const OPS: &str = "dirty.max-ops";
/// The setting of [`Limits::value_bytes`].
pub const VALUE_BYTES: &str = "dirty.max-value-bytes";
/// The setting of [`Limits::event_bytes`].
pub const EVENT_BYTES: &str = "dirty.max-event-bytes";

/// No event is larger, whatever the settings are: Redis takes no longer text (`proto-max-bulk-len`).
pub const MAX_EVENT_BYTES: usize = 512 << 20;

impl Limits {
    /// No limits, for a flush that was accepted when it was deferred.
    pub const NONE: Limits = Limits {
        fields: usize::MAX,
        ops: usize::MAX,
        value_bytes: usize::MAX,
        event_bytes: usize::MAX,
    };

    /// Checks the number of operations of one command.
    pub fn check_ops(&self, ops: usize) -> Result<(), Error> {
        check(ops, self.ops, OPS, "operations", None)
    }

    /// Checks the number of ids of one command, which are bounded as operations are.
    pub fn check_ids(&self, ids: usize) -> Result<(), Error> {
        check(ids, self.ops, OPS, "ids", None)
    }

    /// Checks the number of META pairs, which are bounded as fields are.
    pub fn check_pairs(&self, pairs: usize) -> Result<(), Error> {
        check(pairs, self.fields, FIELDS, "pairs of META", None)
    }

    /// Checks the number of filters of a reader, counting each field that FIELDS names. Filters are counted while they
    /// are read, so how many there are is not known.
    pub fn check_filters(&self, filters: usize) -> Result<(), Error> {
        let (setting, max) = (FIELDS, self.fields);
        match filters > max {
            true => Err(Error::TooManyFilters { setting, max }),
            false => Ok(()),
        }
    }

    /// Checks the number of fields of an entity.
    pub fn check_count(&self, id: &[u8], fields: usize) -> Result<(), Error> {
        check(
            fields,
            self.fields,
            FIELDS,
            "fields of the entity",
            Some(id),
        )
    }

    /// Checks the id, and the names and values of fields, that an operation gives an entity.
    pub fn check_texts(&self, id: &[u8], fields: &[Field]) -> Result<(), Error> {
        self.check_name(id)?;
        for (field, given) in fields {
            self.check_name(field)?;
            if let Some(given) = given {
                self.check_value(field, given.text())?;
            }
        }
        Ok(())
    }

    /// Checks the value of a field, or of META.
    pub fn check_value(&self, name: &[u8], value: &[u8]) -> Result<(), Error> {
        let what = "bytes in the value of";
        check(value.len(), self.value_bytes, VALUE_BYTES, what, Some(name))
    }

    /// Checks a field's name or an id, which are copied wherever values are.
    pub fn check_name(&self, name: &[u8]) -> Result<(), Error> {
        check(
            name.len(),
            self.value_bytes,
            VALUE_BYTES,
            "bytes in the name",
            Some(name),
        )
    }
}

fn check(
    got: usize,
    max: usize,
    setting: &'static str,
    what: &'static str,
    of: Option<&[u8]>,
) -> Result<(), Error> {
    match got > max {
        true => Err(Error::TooMuch {
            got,
            what,
            of: of.map(Quoted::new),
            setting,
            max,
        }),
        false => Ok(()),
    }
}
