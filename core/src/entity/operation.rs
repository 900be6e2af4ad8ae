//! The operations on entities, and the sets of them that streams publish.

use bitflags::bitflags;

/// The kind of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// The entity is new.
    Insert,
    /// The entity has changed.
    Update,
    /// The entity is gone.
    Delete,
}

impl Operation {
    /// The operation's name in replies.
    pub fn name(self) -> &'static str {
        match self {
            Operation::Insert => "insert",
            Operation::Update => "update",
            Operation::Delete => "delete",
        }
    }
}

bitflags! {
    /// The operations a stream publishes: OPS, letters of `IUD`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Operations: u8 {
        /// `I`
        const INSERT = 1;
        /// `U`
        const UPDATE = 2;
        /// `D`
        const DELETE = 4;
    }
}

impl Operations {
    const LETTERS: [(u8, Operations); 3] = [
        (b'I', Operations::INSERT),
        (b'U', Operations::UPDATE),
        (b'D', Operations::DELETE),
    ];

    /// Parses letters of `IUD` in any order; `None` for an empty text and for other letters.
    pub fn from_letters(letters: &[u8]) -> Option<Self> {
        let mut operations = Operations::empty();
        for letter in letters {
            let (_, operation) = Self::LETTERS.iter().find(|(l, _)| l == letter)?;
            operations |= *operation;
        }
        (!operations.is_empty()).then_some(operations)
    }

    /// The value of OPS: the letters, or `NONE`.
    pub fn name(self) -> String {
        if self.is_empty() {
            return "NONE".into();
        }
        Self::LETTERS
            .iter()
            .filter(|(_, operation)| self.contains(*operation))
            .map(|(letter, _)| char::from(*letter))
            .collect()
    }
}

impl From<Operation> for Operations {
    fn from(operation: Operation) -> Self {
        match operation {
            Operation::Insert => Operations::INSERT,
            Operation::Update => Operations::UPDATE,
            Operation::Delete => Operations::DELETE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_in_any_order_and_no_others() {
        for (letters, name) in [
            ("I", Some("I")),
            ("DUI", Some("IUD")),
            ("DD", Some("D")),
            ("", None),
            ("X", None),
            ("IX", None),
            ("iu", None),
        ] {
            let parsed = Operations::from_letters(letters.as_bytes());
            assert_eq!(parsed.map(Operations::name).as_deref(), name, "{letters:?}");
        }
        assert_eq!(Operations::empty().name(), "NONE");
    }
}
