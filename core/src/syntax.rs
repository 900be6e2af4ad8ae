//! The arguments of commands as COMMAND DOCS describes them, for the hints of redis-cli and for client libraries.
//! A test compares each command's table with its syntax line.

use std::ffi::CStr;

/// One argument, or several that belong together.
pub struct Arg {
    /// The argument's name.
    pub name: &'static CStr,
    /// The argument's type.
    pub arg_type: ArgType,
    /// The keyword that precedes it.
    pub token: Option<&'static CStr>,
    /// Whether it may be left out.
    pub optional: bool,
    /// Whether it may be given more than once.
    pub repeats: Repeats,
}

/// The type of an argument, as COMMAND DOCS names it.
pub enum ArgType {
    /// The command's key.
    Key,
    /// Any bytes.
    Text,
    /// An integer.
    Integer,
    /// Only a token, without a value.
    PureToken,
    /// One of several arguments.
    OneOf(&'static [Arg]),
    /// Several arguments, one after the other.
    Block(&'static [Arg]),
}

/// Whether an argument may be given more than once.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Repeats {
    /// It is given once at most.
    Never,
    /// `id [id …]`
    Value,
    /// `[POOL code db] …`
    WithToken,
}

impl Arg {
    const fn new(name: &'static CStr, arg_type: ArgType) -> Self {
        Arg {
            name,
            arg_type,
            token: None,
            optional: false,
            repeats: Repeats::Never,
        }
    }

    /// `GROUP group`
    pub const fn after(mut self, token: &'static CStr) -> Self {
        self.token = Some(token);
        self
    }

    /// `[fields]`
    pub const fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    /// `id [id …]`
    pub const fn repeated(mut self) -> Self {
        self.repeats = Repeats::Value;
        self
    }

    /// `[POOL code db] …`
    pub const fn repeated_with_token(mut self) -> Self {
        self.repeats = Repeats::WithToken;
        self
    }
}

/// The command's key.
pub const fn key(name: &'static CStr) -> Arg {
    Arg::new(name, ArgType::Key)
}

/// An argument of any bytes.
pub const fn text(name: &'static CStr) -> Arg {
    Arg::new(name, ArgType::Text)
}

/// An argument that is an integer.
pub const fn integer(name: &'static CStr) -> Arg {
    Arg::new(name, ArgType::Integer)
}

/// `GROUP`
pub const fn word(name: &'static CStr, token: &'static CStr) -> Arg {
    Arg::new(name, ArgType::PureToken).after(token)
}

/// `GROUP|CURSOR`
pub const fn one_of(name: &'static CStr, choices: &'static [Arg]) -> Arg {
    Arg::new(name, ArgType::OneOf(choices))
}

/// Several arguments that belong together.
pub const fn block(name: &'static CStr, parts: &'static [Arg]) -> Arg {
    Arg::new(name, ArgType::Block(parts))
}

/// `[COUNT n]`
pub const fn option(token: &'static CStr, value: Arg) -> Arg {
    value.after(token).optional()
}

/// `[RAW]`
pub const fn flag(name: &'static CStr, token: &'static CStr) -> Arg {
    word(name, token).optional()
}
