use crate::redis::clock;
use crate::redis::reply::Reply;
use crate::server::command::{Arity, Call, Command, KeyUse};
use crate::store::dead::Dead;
use crate::store::groups::{self, Group, GroupState};
use crate::store::streams::Content;
use dirty_streams_core::entity::event_id::EventId;
use dirty_streams_core::error::Error;
use dirty_streams_core::syntax::{Arg, key};
use redis_module::RedisString;
use std::ffi::CStr;

/// ```text
/// DIRTY.STATS stream
/// ```
///
/// Replies a map: how large the stream is, what it holds, and of each group and cursor how far it is.
pub struct Stats;

impl Command for Stats {
    const NAME: &'static CStr = c"dirty.stats";
    const SUMMARY: &'static CStr = c"Returns how large a stream is and how far its readers are.";
    const COMPLEXITY: &'static CStr = c"O(N+G*C) for N entries, G groups and their C consumers: the stream's memory is added up. lag looks at the entries behind a group's position only where ids do not tell, which is after deletes and where others add entries.";
    const TIPS: &'static CStr = c"nondeterministic_output";
    const ARGS: &'static [Arg] = &[key(c"stream")];
    const FLAGS: &'static CStr = c"readonly";
    const KEY_USE: KeyUse = KeyUse::Read;
    const DATA: &'static [&'static str] = &["stream"];
    const ARITY: Arity = Arity::Exactly(0);

    fn run(call: &Call) -> Result<(), Error> {
        let stream = &call.key;
        let content = Content::of(call.ctx, stream)?;
        let dead = match Dead::of(call.ctx, stream, None) {
            Ok(dead) => dead.count()?,
            Err(_) => 0, // a cluster, where a stream without a tag has none
        };
        let groups: Result<Vec<GroupStats>, Error> = groups::all(call.ctx, stream)?
            .into_iter()
            .map(|(name, state)| GroupStats::of(call, &content, name, state))
            .collect();
        let groups = groups?;
        let now_ms = clock::now_ms();
        let reply = call.reply();
        reply.map(7);
        reply.bytes("length");
        reply.unsigned(content.length);
        reply.bytes("bytes");
        reply.unsigned(content.bytes);
        reply.bytes("oldest-event-seconds");
        seconds(reply, now_ms, content.first);
        reply.bytes("first-id");
        id(reply, content.first);
        reply.bytes("last-id");
        id(reply, Some(content.last));
        reply.bytes("dead");
        reply.unsigned(dead);
        reply.bytes("groups");
        reply.array(groups.len());
        for group in groups {
            group.reply(reply, now_ms);
        }
        Ok(())
    }
}

struct GroupStats {
    name: RedisString,
    state: GroupState,
    /// Entries still to read.
    lag: u64,
    /// Events that were to be read and are gone.
    missed: u64,
    lowest_pending: Option<EventId>,
    consumers: Vec<groups::Consumer>,
}

impl GroupStats {
    fn of(
        call: &Call,
        content: &Content,
        name: RedisString,
        state: GroupState,
    ) -> Result<Self, Error> {
        let group = Group {
            ctx: call.ctx,
            stream: &call.key,
            name: &name,
        };
        let lowest = group.pending_after(None, 1)?;
        let consumers = group.consumers()?;
        let lag = content.entries_after(call.ctx, &call.key, state.position);
        let ahead = match content.last > state.position {
            true => content.last.seq.saturating_sub(state.position.seq),
            false => 0,
        };
        // Ids made by hand count nothing: no more are gone than were ever added.
        let missed = ahead.saturating_sub(lag).min(content.lost);
        Ok(GroupStats {
            lag,
            missed,
            lowest_pending: lowest.first().map(groups::Pending::event_id),
            consumers,
            state,
            name,
        })
    }

    fn reply(&self, reply: Reply, now_ms: u64) {
        let is_cursor = self.consumers.is_empty() && self.state.pending == 0;
        let position = Some(self.state.position).filter(|id| *id > EventId::default());
        reply.map(10);
        reply.bytes("name");
        reply.bytes(self.name.as_slice());
        reply.bytes("kind");
        reply.bytes(if is_cursor { "cursor" } else { "group" });
        reply.bytes("lag");
        reply.unsigned(self.lag);
        reply.bytes("pending");
        reply.integer(self.state.pending);
        reply.bytes("last-delivered-id");
        id(reply, Some(self.state.position));
        reply.bytes("last-delivered-seconds");
        seconds(reply, now_ms, position);
        reply.bytes("lowest-pending-id");
        id(reply, self.lowest_pending);
        reply.bytes("lowest-pending-seconds");
        seconds(reply, now_ms, self.lowest_pending);
        reply.bytes("missed");
        reply.unsigned(self.missed);
        reply.bytes("consumers");
        reply.array(self.consumers.len());
        for consumer in &self.consumers {
            reply.map(3);
            reply.bytes("name");
            reply.bytes(&consumer.name);
            reply.bytes("pending");
            reply.integer(consumer.pending);
            reply.bytes("idle-ms");
            reply.unsigned(consumer.idle_ms);
        }
    }
}

fn id(reply: Reply, id: Option<EventId>) {
    match id {
        Some(id) => reply.bytes(id.text()),
        None => reply.null(),
    }
}

/// How long ago something with this id happened.
fn seconds(reply: Reply, now_ms: u64, id: Option<EventId>) {
    match id {
        Some(id) => reply.unsigned(now_ms.saturating_sub(id.ms) / 1000),
        None => reply.null(),
    }
}
