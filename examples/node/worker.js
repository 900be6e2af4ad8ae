// The mailer: `node worker.js NAME` is one of its group's workers, until it is told to end (SIGTERM, Ctrl-C).

import { setTimeout as sleep } from 'node:timers/promises';
import { Redis, ReplyError } from 'ioredis';

const STREAM = 'user-changes';
const GROUP = 'mailer';
const [, , ME] = process.argv;

// What a failover or a restart may answer: call again, as after a lost connection.
const PASSES = /^(UNBLOCKED|READONLY|LOADING|TRYAGAIN|OOM) /;

// This worker was silent for too long, and another one has the event.
class Taken extends Error {}

// An event may come twice; a real mailer would send its id along, so that the mail goes out once.
async function handle({ op, changes = {} }, hold) {
  if (op === 'insert') {
    const [, email] = changes.email;
    if (!email.includes('@')) throw new TypeError(`'${email}' is no address`);
    if (email.endsWith('@slow.example')) {
      // A mail server that takes its time.
      for (let i = 0; i < 6; i++) {
        await sleep(400);
        await hold();
      }
    }
    console.log(`welcome, ${changes.name[1]} <${email}>`);
  } else if (op === 'update' && changes.name) {
    console.log(`${changes.name[0]} is ${changes.name[1]} now`);
  }
}

if (!ME) {
  console.error('usage: node worker.js NAME');
  process.exit(1);
}
let ended = false;
process.on('SIGTERM', () => (ended = true));
process.on('SIGINT', () => (ended = true));

// ioredis would send a call again by itself, and nobody would ask for PENDING.
const redis = new Redis(process.env.REDIS_URL ?? 'redis://localhost:6379', { maxRetriesPerRequest: 0 });
redis.on('error', (error) => console.error(error.message));
const call = (command, ...words) => redis.call(command, STREAM, 'GROUP', GROUP, ME, ...words);

// ioredis speaks RESP2, where a map is a flat array of its keys and values. The events are texts of JSON, with all their
// types; an integer beyond 2^53 is not exact in JavaScript.
const map = (flat) => Object.fromEntries(flat.flatMap((key, i) => (i % 2 ? [] : [[key, flat[i + 1]]])));

let done = []; // each call acknowledges what came of the one before

async function handleAll(events) {
  const held = new Map(events.map((event) => [event.id, event]));
  for (const event of events) {
    if (!held.has(event.id)) continue;
    // Whatever takes longer than the group's CLAIM says in between that it goes on.
    const hold = async () => {
      for (const id of await call('DIRTY.HOLD', ...held.keys())) held.delete(id);
      if (!held.has(event.id)) throw new Taken();
    };
    try {
      await handle(event, hold);
      done.push(event.id);
    } catch (error) {
      if (error instanceof Taken) continue;
      // Twice as late each time. MAXDELIVERIES of the group says when it is enough.
      const delay = 100 * 2 ** event.deliveries;
      const [fate] = await call('DIRTY.FAIL', error.message, 'DELAY', delay, event.id);
      console.log(`${error.message}, delivery ${event.deliveries}: ${fate}`);
      // In order: what this user did after comes again, behind this event.
      for (const [id, { entity, 'entity-id': user }] of held) {
        if (entity === event.entity && user === event['entity-id']) held.delete(id);
      }
    }
  }
}

let pending = ['PENDING']; // at first: what a worker of this name has not finished
while (!ended) {
  try {
    const batch = map(await call('DIRTY.CONSUME', 'ACK', done.length, ...done, ...pending, 'BLOCK', 1000, 'JSON'));
    // After a lost reply they may be what the lost call has acknowledged.
    for (const id of pending.length ? [] : batch['not-held']) {
      console.log(`${id} was handled here, but this worker was silent for too long: another one has it`);
    }
    done = [];
    pending = [];
    // Null if nobody knows how many.
    if (batch.missed !== 0) console.log(`${batch.missed ?? 'some'} events are lost: load the users from the database`);
    await handleAll(batch.events.map((text) => JSON.parse(text)));
  } catch (error) {
    if (error instanceof ReplyError && !PASSES.test(error.message)) throw error;
    pending = ['PENDING']; // the reply that was lost may have held events
    await sleep(200);
  }
}
if (done.length) await call('DIRTY.ACK', ...done);
await call('DIRTY.LEAVE'); // what it holds goes to the others
redis.disconnect();
