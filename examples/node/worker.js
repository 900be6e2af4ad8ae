// The mailer: reads user-changes as one of its group's workers, until it is told to end (SIGTERM, Ctrl-C).

import { setTimeout as sleep } from 'node:timers/promises';
import { Redis, ReplyError } from 'ioredis';

const STREAM = 'user-changes';
const GROUP = 'mailer';
const ME = 'mailer-1';

// What a failover, a restart or XGROUP DESTROY may answer: call again, as after a lost connection.
const PASSES = /^(UNBLOCKED|READONLY|LOADING|NOGROUP|TRYAGAIN|OOM) /;

// ioredis speaks RESP2, where a map is a flat array of its keys and values.
const map = (flat = []) => Object.fromEntries(flat.flatMap((key, i) => (i % 2 ? [] : [[key, flat[i + 1]]])));

// An event may come twice; a real mailer would send its id along, so that the mail goes out once.
function handle(event) {
  const changes = map(event.changes);
  if (event.op === 'insert') {
    const [, email] = changes.email;
    if (!email.includes('@')) throw new TypeError(`'${email}' is no address`);
    console.log(`welcome, ${changes.name[1]} <${email}>`);
  } else if (changes.name) {
    console.log(`${changes.name[0]} is ${changes.name[1]} now`);
  }
}

let ended = false;
process.on('SIGTERM', () => (ended = true));
process.on('SIGINT', () => (ended = true));

// ioredis would send a call again by itself, and nobody would ask for PENDING.
const redis = new Redis(process.env.REDIS_URL ?? 'redis://localhost:6379', { maxRetriesPerRequest: 0 });
redis.on('error', (error) => console.error(error.message));

let done = []; // each call acknowledges what came of the one before
let options = ['PENDING']; // at first: what a worker of this name has not finished
while (!ended) {
  try {
    const batch = map(
      await redis.call('DIRTY.CONSUME', STREAM, 'GROUP', GROUP, ME,
        'ACK', done.length, ...done, ...options, 'CLAIM', 60_000, 'BLOCK', 1000),
    );
    done = [];
    options = [];
    if (batch.missed) console.log(`${batch.missed} events are lost: load the users from the database`);
    for (const event of batch.events.map(map)) {
      try {
        handle(event);
        done.push(event.id);
      } catch (error) {
        // NOW keeps this story short. Without it the event comes again after CLAIM's minute, so that an outage of
        // seconds does not make everything dead.
        const fate = await redis.call('DIRTY.FAIL', STREAM, 'GROUP', GROUP, event.id, error.message,
          'NOW', 'MAXDELIVERIES', 3);
        console.log(`${error.message}, delivery ${event.deliveries}: ${fate}`);
      }
    }
  } catch (error) {
    if (error instanceof ReplyError && !PASSES.test(error.message)) throw error;
    options = ['PENDING']; // the reply that was lost may have held events
    await sleep(200);
  }
}
if (done.length) await redis.call('DIRTY.ACK', STREAM, 'GROUP', GROUP, ...done);
await redis.call('DIRTY.LEAVE', STREAM, 'GROUP', GROUP, ME); // what it holds goes to the others
redis.disconnect();
