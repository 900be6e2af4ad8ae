use super::syntax::{COUNT, GROUP};
use crate::server::command::{Arity, Call, Command, KeyUse};
use crate::store::readers;
use crate::store::source::{self, Giver, Shown, Source};
use dirty_streams_core::args::Args;
use dirty_streams_core::entity::event::Event;
use dirty_streams_core::error::Error;
use dirty_streams_core::reading::requests::list::Request;
use dirty_streams_core::reading::{Delivery, Kind, Order, Refusal, Stream, Verdict};
use dirty_streams_core::syntax::{Arg, key, option, text};
use std::ffi::CStr;

/// ```text
/// DIRTY.PENDING stream GROUP group [CONSUMER consumer] [AFTER id] [COUNT n]
/// ```
///
/// Lists the events that a group has not finished, in the order of their ids, COUNT (100) at most. Replies an array of maps.
pub struct Pending;

impl Command for Pending {
    const NAME: &'static CStr = c"dirty.pending";
    const SUMMARY: &'static CStr = c"Lists the events that a group has not finished.";
    const COMPLEXITY: &'static CStr =
        c"O(N) for N events of the page; with CONSUMER for N events that it holds.";
    const TIPS: &'static CStr = c"nondeterministic_output";
    const ARGS: &'static [Arg] = &[
        key(c"stream"),
        GROUP,
        option(c"CONSUMER", text(c"consumer")),
        option(c"AFTER", text(c"id")),
        COUNT,
    ];
    const FLAGS: &'static CStr = c"readonly";
    const KEY_USE: KeyUse = KeyUse::Read;
    const DATA: &'static [&'static str] = &["stream"];
    const ARITY: Arity = Arity::AtLeast(2);

    fn run(call: &Call) -> Result<(), Error> {
        let request = Request::parse(Args::new(call.args))?;
        let Request {
            group,
            consumer,
            after,
            count,
        } = request;
        source::check(call.ctx, &call.key)?;
        let found = readers::look(call.ctx, &call.key, |readers, now_ms| {
            let settings = readers.get(group).map(|reader| reader.settings.clone());
            let listed = readers.list_pending(group, consumer, after, count, now_ms)?;
            Ok((settings.unwrap_or_default(), listed))
        })?;
        let found = found.unwrap_or_else(|| Err(Refusal::NoReader(Kind::Group, group.to_vec())));
        let (settings, listed) = found.map_err(|refusal| refusal.error(&call.key, b""))?;
        let may = |_, _: &[u8]| Ok(());
        let giver = KeyOf {
            order: &settings.order,
            key: None,
        };
        let mut source = Source::new(call.ctx, &call.key, &may, giver);
        source.open()?;
        source.set_dead(settings.dead.as_deref());
        let reply = call.reply();
        reply.array(listed.len());
        for entry in listed {
            source.giver.key = None;
            if settings.order != Order::None {
                source.look_up(entry.place, &mut |_| Verdict::Give(Delivery::default()));
            }
            reply.map(9);
            reply.bytes("id");
            reply.bytes(entry.id.text());
            reply.bytes("state");
            reply.bytes(entry.state.name());
            reply.bytes("consumer");
            reply.text(entry.consumer.as_deref());
            reply.bytes("idle-ms");
            reply.number(entry.idle_ms);
            reply.bytes("due-ms");
            reply.number(entry.due_ms);
            reply.bytes("deliveries");
            reply.integer(entry.deliveries.into());
            reply.bytes("failures");
            reply.integer(entry.failures.into());
            reply.bytes("error");
            reply.text(entry.error.as_deref());
            reply.bytes("key");
            match &source.giver.key {
                None => reply.null(),
                Some(Key::Meta(value)) => reply.bytes(value),
                Some(Key::Entity(name, id)) => {
                    reply.array(2);
                    reply.bytes(name);
                    reply.bytes(id);
                }
            }
        }
        Ok(())
    }
}

/// Remembers the key of the entry that it is given.
struct KeyOf<'o> {
    order: &'o Order,
    key: Option<Key>,
}

enum Key {
    Entity(Vec<u8>, Vec<u8>),
    Meta(Vec<u8>),
}

impl Giver for KeyOf<'_> {
    fn give_stored(&mut self, _: &Event) {}

    fn give(&mut self, entry: &Shown, _: Delivery) {
        let event = entry.event();
        self.key = match self.order {
            Order::None | Order::Stream => None,
            Order::Entity => {
                event.map(|event| Key::Entity(event.entity.to_vec(), event.id.to_vec()))
            }
            Order::Meta(_) => {
                let value = self.order.meta_value(event);
                value.map(|value| Key::Meta(value.to_vec()))
            }
        };
    }
}
