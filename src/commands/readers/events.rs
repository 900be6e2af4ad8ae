//! The events of a reply, written while the rules decide who gets them.

use crate::redis::reply::{Reply, Token};
use crate::server::stats;
use crate::store::dead::Pair;
use crate::store::source::{Giver, Shown};
use dirty_streams_core::encoding::text::{self, Content, Dead, Delivered};
use dirty_streams_core::entity::event::Event;
use dirty_streams_core::entity::event_id::EventId;
use dirty_streams_core::reading::Delivery;
use dirty_streams_core::reading::requests::shared::Form;

/// Pairs of the reply's map: the events, and three more.
const PAIRS: usize = 4;

/// Begins the reply with the first event. A call that is refused, or waits, has replied nothing then.
pub struct Events<'c> {
    reply: Reply<'c>,
    form: Form,
    count: usize,
}

impl<'c> Events<'c> {
    pub fn new(reply: Reply<'c>, form: Form) -> Self {
        Events {
            reply,
            form,
            count: 0,
        }
    }

    /// Ends the events, and begins the reply if there were none. Three more pairs must follow.
    pub fn end(self) -> Reply<'c> {
        match self.count {
            0 => {
                self.reply.map(PAIRS);
                self.reply.token(Token::Events);
                self.reply.array(0);
            }
            count => {
                self.reply.end_array(count);
                stats::count(&stats::DELIVERED, count);
            }
        }
        self.reply
    }
}

impl Giver for Events<'_> {
    fn give(&mut self, entry: &Shown, delivery: Delivery) {
        let reply = self.reply;
        if self.count == 0 {
            reply.map(PAIRS);
            reply.token(Token::Events);
            reply.begin_array();
        }
        self.count = self.count.saturating_add(1);
        let id = delivery.id.unwrap_or(entry.id);
        let deliveries = Some(delivery.deliveries).filter(|n| *n > 0);
        // What is redriven is the event itself, not the entry of the dead stream.
        let dead = match delivery.id {
            None => entry.told().map(|told| Dead {
                id: told.id_text(),
                stream: told.stream(),
                reader: told.reader(),
                consumer: told.consumer(),
                error: told.error(),
                deliveries: told.deliveries(),
                failures: told.failures(),
                first_ms: told.first_ms(),
                last_ms: told.last_ms(),
            }),
            Some(_) => None,
        };
        let fields = match delivery.id {
            None => entry.fields(),
            Some(_) => entry.own_fields(),
        };
        let mut id_text = [0; 41];
        let delivered = Delivered {
            id: id.write(&mut id_text),
            deliveries,
            failures: delivery.failures,
            dead,
        };
        let event = match self.form {
            Form::Raw => None,
            Form::Typed | Form::Json => entry.event(),
        };
        match (self.form, event) {
            (Form::Typed, Some(event)) => reply_event(reply, event, &delivered),
            (Form::Json, event) => {
                let content = match event {
                    Some(event) => Content::Event(event),
                    None => {
                        let fields = fields.iter().flat_map(|(field, value)| [field, value]);
                        Content::Fields(fields.map(|text| text.as_slice()).collect())
                    }
                };
                reply.bytes(text::event(&delivered, &content));
            }
            (Form::Raw | Form::Typed, _) => reply_raw(reply, fields, &delivered),
        }
    }
}

fn reply_event(reply: Reply, event: &Event, delivered: &Delivered) {
    let optional = [
        !event.changes.is_empty(),
        !event.before.is_empty(),
        !event.after.is_empty(),
        !event.meta.is_empty(),
        event.version.is_some(),
    ];
    let pairs = optional.into_iter().filter(|present| *present).count();
    reply.map(pairs.saturating_add(4).saturating_add(pairs_of(delivered)));
    reply.token(Token::Id);
    reply.bytes(delivered.id);
    reply.token(Token::Entity);
    reply.name(&event.entity);
    reply.token(Token::EntityId);
    reply.bytes(&event.id);
    reply.token(Token::Op);
    reply.token(op(event));
    if let Some(version) = event.version {
        reply.token(Token::Version);
        match i64::try_from(version) {
            Ok(version) => reply.integer(version),
            Err(_) => reply.bytes(version.to_string()),
        }
    }
    if !event.changes.is_empty() {
        reply.token(Token::Changes);
        reply.map(event.changes.len());
        for change in event.changes.iter() {
            reply.name(&change.field);
            reply.array(2);
            reply.value(&change.old);
            reply.value(&change.new);
        }
    }
    for (name, image) in [(Token::Before, &event.before), (Token::After, &event.after)] {
        if !image.is_empty() {
            reply.token(name);
            reply.map(image.len());
            for (field, value) in image.iter() {
                reply.name(field);
                reply.value(value);
            }
        }
    }
    if !event.meta.is_empty() {
        reply.token(Token::Meta);
        reply.map(event.meta.len());
        for (name, value) in event.meta.iter() {
            reply.name(name);
            reply.bytes(value);
        }
    }
    reply_delivered(reply, delivered);
}

/// The entry's own fields, in its order, any of them more than once if it is so.
fn reply_raw(reply: Reply, fields: &[Pair], delivered: &Delivered) {
    reply.map(pairs_of(delivered).saturating_add(2));
    reply.token(Token::Id);
    reply.bytes(delivered.id);
    reply.token(Token::Fields);
    reply.array(fields.len().saturating_mul(2));
    for (field, value) in fields {
        reply.bytes(field.as_slice());
        reply.bytes(value.as_slice());
    }
    reply_delivered(reply, delivered);
}

fn pairs_of(delivered: &Delivered) -> usize {
    let optional = [
        delivered.deliveries.is_some(),
        delivered.failures > 0,
        delivered.dead.is_some(),
    ];
    optional.into_iter().filter(|present| *present).count()
}

fn reply_delivered(reply: Reply, delivered: &Delivered) {
    if let Some(deliveries) = delivered.deliveries {
        reply.token(Token::Deliveries);
        reply.integer(deliveries.into());
    }
    if delivered.failures > 0 {
        reply.token(Token::Failures);
        reply.integer(delivered.failures.into());
    }
    let Some(dead) = &delivered.dead else {
        return;
    };
    reply.token(Token::Dead);
    reply.map(9);
    for (name, value) in [
        ("id", dead.id),
        ("stream", dead.stream),
        ("reader", dead.reader),
        ("consumer", dead.consumer),
        ("error", dead.error),
    ] {
        reply.bytes(name);
        reply.bytes(value);
    }
    for (name, value) in [
        ("deliveries", dead.deliveries),
        ("failures", dead.failures),
        ("first-ms", dead.first_ms),
        ("last-ms", dead.last_ms),
    ] {
        reply.bytes(name);
        reply.number(value);
    }
}

fn op(event: &Event) -> Token {
    match event.op() {
        "insert" => Token::Insert,
        "delete" => Token::Delete,
        "touch" => Token::Touch,
        _ => Token::Update,
    }
}

/// `missed` of a reply: null where nobody knows.
pub fn reply_missed(reply: Reply, missed: Option<u64>) {
    reply.token(Token::Missed);
    reply.number(missed);
}

/// `more` of a reply.
pub fn reply_more(reply: Reply, more: bool) {
    reply.token(Token::More);
    reply.boolean(more);
}

/// `not-held` of a reply.
pub fn reply_not_held(reply: Reply, ids: &[EventId]) {
    reply.token(Token::NotHeld);
    reply.array(ids.len());
    for id in ids {
        reply.bytes(id.text());
    }
}
