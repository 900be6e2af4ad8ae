// The mailer: `node mailer.js [NAME]` is one of its group's workers, until it is told to end (SIGTERM, Ctrl-C).

import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { Worker } from './worker.js';

/** @import { EventOf } from './types.js' */
/** @typedef {EventOf<{ user: { id: number, name: string, email: string, version: number } }>} UserEvent */

/**
 * An event may come twice; a real mailer would send its id along, so that the mail goes out once.
 * @param {UserEvent} event
 * @param {AbortSignal} taken
 */
async function handle(event, taken) {
  if (event.op === 'insert') {
    const email = event.changes?.email?.[1] ?? '';
    if (!email.includes('@')) throw new TypeError(`'${email}' is no address`);
    // A mail server that takes its time. Who has lost the event meanwhile does not send.
    for (let i = 0; i < 6 && email.endsWith('@slow.example'); i++) await sleep(400, undefined, { signal: taken });
    console.log(`welcome, ${event.changes?.name?.[1]} <${email}>`);
  } else if (event.op === 'update' && event.changes?.name) {
    const [before, after] = event.changes.name;
    console.log(`${before} is ${after} now`);
  }
}

const redis = new Redis(process.env.REDIS_URL ?? 'redis://localhost:6379', {
  maxRetriesPerRequest: 0,
  commandTimeout: 5000,
});
redis.on('error', () => {}); // the worker tells of outages

const [, , name] = process.argv;
const worker = /** @type {Worker<UserEvent>} */ (
  new Worker(redis, 'user-changes', 'mailer', handle, {
    ...(name && { name }), // else a new one
    firstDelay: 200,
    refresh: 0, // the story changes CLAIM while the worker runs
    onFailed: ({ deliveries }, error, fate) => {
      console.log(`${error instanceof Error ? error.message : error}, delivery ${deliveries}: ${fate}`);
    },
    onOutage: () => {},
  })
);
for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, () => worker.stop());
await worker.run();
redis.disconnect();
