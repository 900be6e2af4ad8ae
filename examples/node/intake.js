// The application: takes users as JSON, a line each, until its input ends.

import { createInterface } from 'node:readline';
import { Publisher } from './publisher.js';

const DECLARATION = ('DIRTY.DECLARE user VERSION version TYPES 2 id int version int' +
  ' STREAM user-changes PAYLOAD FULL STREAM user-cdc FORMAT DEBEZIUM').split(' ');

const count = { flushed: 0, dropped: 0, unknown: 0 };
let away = false;

const publisher = new Publisher(process.env.REDIS_URL ?? 'redis://localhost:6379', DECLARATION, {
  limit: 3,
  replyTimeout: 2000,
  onFlushed([, , id], [effect]) {
    count.flushed++;
    away = false;
    console.log(`  user ${id}: ${effect}`);
  },
  onDropped([, , id], why) {
    count.dropped++;
    console.log(`  user ${id} is dropped: ${why}`);
  },
  onUnknown([, , id], why) {
    count.unknown++;
    console.log(`  user ${id} may be flushed or not: ${why}`);
  },
  onRetry(error) {
    if (!away) console.log('  Redis does not answer; going on without');
    away = true;
  },
});

for await (const line of createInterface({ input: process.stdin })) {
  const user = JSON.parse(line);
  // A real one saves it in its database here, and flushes after the commit. A row that is sent twice is `none`;
  // its version makes one that was overtaken `stale`.
  publisher.flush('user', 'SNAPSHOT', user.id, 'JSON', line);
  console.log(`taken: ${user.name}`);
}
await publisher.close();
console.log(`end of input: ${count.flushed} flushed, ${count.dropped} dropped, ${count.unknown} unknown`);
