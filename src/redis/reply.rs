//! Writing replies, element by element, right in RESP2 and RESP3.

use super::api::api;
use super::call::View;
use super::{cached_replies, flags};
use dirty_streams_core::entity::event::Value;
use dirty_streams_core::entity::value::FieldType;
use redis_module::{Context, raw};
use std::ffi::{CStr, CString, c_char, c_long};

pub use cached_replies::Token;

#[derive(Clone, Copy)]
pub struct Reply<'c> {
    ctx: &'c Context,
}

impl<'c> Reply<'c> {
    pub fn new(ctx: &'c Context) -> Self {
        Reply { ctx }
    }

    /// As many elements must follow.
    pub fn array(self, length: usize) {
        // SAFETY: a live context.
        unsafe { api!(RedisModule_ReplyWithArray(self.ctx.ctx, size(length))) };
    }

    /// Elements follow until [`Self::end_array`] says how many they were.
    pub fn begin_array(self) {
        let unknown = c_long::from(raw::REDISMODULE_POSTPONED_ARRAY_LEN);
        // SAFETY: a live context.
        unsafe { api!(RedisModule_ReplyWithArray(self.ctx.ctx, unknown)) };
    }

    pub fn end_array(self, length: usize) {
        // SAFETY: a live context, with an array that has begun and not ended.
        unsafe { api!(RedisModule_ReplySetArrayLength(self.ctx.ctx, size(length))) };
    }

    /// As many pairs must follow; RESP2 gets a flat array.
    pub fn map(self, pairs: usize) {
        // SAFETY: a live context.
        unsafe { api!(RedisModule_ReplyWithMap(self.ctx.ctx, size(pairs))) };
    }

    pub fn status(self, text: &CStr) {
        // SAFETY: a live context, and a text that ends with a NUL.
        unsafe {
            api!(RedisModule_ReplyWithSimpleString(
                self.ctx.ctx,
                text.as_ptr()
            ))
        };
    }

    pub fn bytes(self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        // SAFETY: a live context, and bytes with their length.
        unsafe {
            api!(RedisModule_ReplyWithStringBuffer(
                self.ctx.ctx,
                bytes.as_ptr().cast::<c_char>(),
                bytes.len(),
            ));
        }
    }

    /// A text that many replies have.
    #[inline(always)]
    pub fn token(self, token: Token) {
        match cached_replies::kept(self.ctx, token) {
            Some(kept) => self.part(kept),
            None => self.bytes(token.text()),
        }
    }

    /// The name of an entity or a field, which comes again in reply after reply.
    pub fn name(self, name: &[u8]) {
        match cached_replies::name(self.ctx, name) {
            Some(kept) => self.part(kept),
            None => self.bytes(name),
        }
    }

    /// A part of what the server has replied to the module, as it is. Texts and arrays are the same in RESP2
    /// and RESP3.
    pub fn part(self, part: View) {
        // SAFETY: a live reply.
        unsafe { api!(RedisModule_ReplyWithCallReply(self.ctx.ctx, part.raw())) };
    }

    pub fn integer(self, number: i64) {
        // SAFETY: a live context.
        unsafe { api!(RedisModule_ReplyWithLongLong(self.ctx.ctx, number)) };
    }

    /// As an integer where RESP has it, else as text.
    pub fn unsigned(self, number: u64) {
        match i64::try_from(number) {
            Ok(number) => self.integer(number),
            Err(_) => self.bytes(number.to_string()),
        }
    }

    /// An integer, or null.
    pub fn number(self, number: Option<u64>) {
        match number {
            Some(number) => self.unsigned(number),
            None => self.null(),
        }
    }

    /// Bytes, or null.
    pub fn text(self, text: Option<&[u8]>) {
        match text {
            Some(text) => self.bytes(text),
            None => self.null(),
        }
    }

    fn double(self, number: f64) {
        // SAFETY: a live context.
        unsafe { api!(RedisModule_ReplyWithDouble(self.ctx.ctx, number)) };
    }

    /// 1 or 0 in RESP2.
    pub fn boolean(self, truth: bool) {
        // SAFETY: a live context.
        unsafe { api!(RedisModule_ReplyWithBool(self.ctx.ctx, truth.into())) };
    }

    pub fn null(self) {
        // SAFETY: a live context.
        unsafe { api!(RedisModule_ReplyWithNull(self.ctx.ctx)) };
    }

    /// One line with a code first, as `Error` writes it.
    pub fn error(self, message: &str) {
        let line: Vec<u8> = message
            .bytes()
            .map(|byte| if byte.is_ascii_control() { b' ' } else { byte })
            .collect();
        let line = CString::new(line).unwrap_or_default();
        // SAFETY: a live context, and a line that ends with a NUL.
        unsafe { api!(RedisModule_ReplyWithError(self.ctx.ctx, line.as_ptr())) };
    }

    /// A field's value as its type has it: integers where 64 bits signed hold them, floats as double
    /// and booleans as such in RESP3, null as null, everything else as bytes.
    pub fn value(self, value: &Value) {
        let Some((field_type, text)) = value else {
            return self.null();
        };
        let utf8 = || std::str::from_utf8(text).ok();
        match field_type {
            FieldType::Int | FieldType::Uint => match utf8().and_then(|text| text.parse().ok()) {
                Some(number) => self.integer(number),
                None => self.bytes(text),
            },
            FieldType::Float if flags::is_resp3(self.ctx) => {
                match utf8().and_then(|text| text.parse().ok()) {
                    Some(number) => self.double(number),
                    None => self.bytes(text),
                }
            }
            FieldType::Bool if matches!(&**text, b"0" | b"1") => self.boolean(&**text == b"1"),
            _ => self.bytes(text),
        }
    }
}

/// No reply has more elements than memory has bytes.
fn size(length: usize) -> c_long {
    let size = c_long::try_from(length);
    debug_assert!(size.is_ok(), "{length} elements");
    size.unwrap_or(c_long::MAX)
}
