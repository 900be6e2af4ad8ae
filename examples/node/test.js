// What the programs do not show: `REDIS_URL=… node --test test.js` with an empty server.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis, ReplyError } from 'ioredis';
import { partition, turns } from './cluster.js';
import { Outage, parseReply, send } from './dirty.js';
import { follow, Missed } from './follower.js';
import { Worker } from './worker.js';

/** @import { Words } from './types.js' */

const redis = new Redis(process.env.REDIS_URL ?? 'redis://localhost:6379');
after(() => redis.disconnect());
const NO_UTF8 = Buffer.from('ff00', 'hex');

/** @param {string} name @param {...string} order */
async function group(name, ...order) {
  const types = ['TYPES', 3, 'n', 'int', 'f', 'float', 'j', 'json'];
  await redis.call('DIRTY.DECLARE', name, ...types, 'STREAM', `${name}s`, 'PAYLOAD', 'FULL');
  await redis.call('DIRTY.READER', `${name}s`, 'GROUP', 'g', 'FROM', 0, ...order);
  await redis.call('DIRTY.READER', `${name}s`, 'CURSOR', 'c', 'FROM', 0);
}
/** @param {string} name @param {...(string | number | Buffer)} words */
const flush = (name, ...words) => redis.call('DIRTY.FLUSH', name, ...words);

const BY = { by: NO_UTF8 };
const HUGE = 12345678901234567890.5;

/** @type {[what: string, words: Words, expected: object][]} */
const EVENTS = [
  ['a text', ['SNAPSHOT', 1, 1, 's', 'é'], { 'entity-id': '1', op: 'update', changes: { s: ['old', 'é'] } }],
  ['bytes', ['SNAPSHOT', 1, 1, 's', NO_UTF8], { 'entity-id': '1', changes: { s: ['old', NO_UTF8] } }],
  ['bytes in its meta', ['META', 1, 'by', NO_UTF8, 'UPDATE', 1, 1, 's', 'é'], { changes: { s: ['old', 'é'] }, meta: BY }],
  ['an id of bytes', ['SNAPSHOT', NO_UTF8, 1, 'n', 5], { 'entity-id': NO_UTF8, op: 'insert', changes: { n: [null, 5] } }],
  ['the largest exact number', ['UPDATE', 1, 1, 'n', `${2 ** 53 - 1}`], { changes: { n: [null, 2 ** 53 - 1] } }],
  ['a larger number', ['UPDATE', 1, 1, 'n', '9007199254740993'], { changes: { n: [null, '9007199254740993'] } }],
  ['a float of many digits', ['UPDATE', 1, 1, 'f', `${HUGE}`], { changes: { f: [null, HUGE] } }],
  ['digits in a text', ['UPDATE', 1, 1, 's', 'a "9007199254740993'], { changes: { s: ['old', 'a "9007199254740993'] } }],
  ['json', ['UPDATE', 1, 1, 'j', '{"a":[1,true,null]}'], { changes: { j: [null, { a: [1, true, null] }] } }],
];
for (const [i, [what, words, expected]] of EVENTS.entries()) {
  test(`an event has ${what}`, async () => {
    const name = `event${i}`;
    await group(name);
    await flush(name, 'SNAPSHOT', 1, 1, 's', 'old');
    await flush(name, ...words);
    const { events } = parseReply(await send(redis, 'DIRTY.READ', `${name}s`, 'FROM', 0, 'JSON'));
    const [, event] = /** @type {any[]} */ (events);
    const found = Object.fromEntries(Object.keys(expected).map((key) => [key, event[key]]));
    assert.deepEqual(found, expected);
  });
}

test('partitions are those of all clients', async (t) => {
  const file = process.env.VECTORS;
  if (!file) return t.skip('VECTORS names no file');
  for (const { id, base64, partitions } of JSON.parse(await readFile(file, 'utf8'))) {
    const bytes = base64 === undefined ? id : Buffer.from(base64, 'base64');
    for (const [n, expected] of Object.entries(partitions)) assert.equal(partition(bytes, Number(n)), expected, id);
  }
});

/** @type {[order: string[], handled: string[]][]} */
const ORDERS = [
  [['NONE'], ['1 a', '2 a', '1 b', '1 c', '2 b', '1 a']],
  [['ENTITY'], ['1 a', '2 a', '2 b', '1 a', '1 b', '1 c']],
  [['META', 'tenant'], ['1 a', '2 a', '1 b', '1 c', '1 a', '2 b']],
  [['STREAM'], ['1 a', '1 a', '2 a', '1 b', '1 c', '2 b']],
];
for (const [i, [order, expected]] of ORDERS.entries()) {
  test(`in ORDER ${order.join(' ')} nothing overtakes the failed event of its key`, async () => {
    const name = `order${i}`;
    await group(name, 'ORDER', ...order);
    // The tenant is the same for the first and the last.
    for (const [id, s, tenant] of [['1', 'a', 'x'], ['2', 'a', 'y'], ['1', 'b', 'y'], ['1', 'c', 'z'], ['2', 'b', 'x']]) {
      await flush(name, 'META', 1, 'tenant', tenant ?? '', 'SNAPSHOT', id ?? '', 1, 's', s ?? '');
    }
    /** @type {string[]} */
    const handled = [];
    const connection = redis.duplicate({ maxRetriesPerRequest: 0 });
    const worker = new Worker(connection, `${name}s`, 'g', (/** @type {any} */ event) => {
      handled.push(`${event['entity-id']} ${event.changes.s[1]}`);
      if (handled.length === expected.length) worker.stop();
      if (handled.length === 1) throw new Error('once');
    }, { firstDelay: 50, onFailed: () => {} });
    await worker.run();
    connection.disconnect();
    assert.deepEqual(handled, expected);
    assert.deepEqual(await redis.call('DIRTY.PENDING', `${name}s`, 'GROUP', 'g'), []);
  });
}

test('an event that somebody else has finished is passed over', async () => {
  await group('taken', 'CLAIM', '300');
  await flush('taken', 'SNAPSHOT', 1, 0, 'SNAPSHOT', 2, 0);
  /** @type {unknown[]} */
  const told = [];
  const connection = redis.duplicate();
  const worker = new Worker(connection, 'takens', 'g', async ({ id }, taken) => {
    const all = await redis.xrange('takens', '-', '+');
    told.push(all.findIndex(([found]) => found === id), taken.aborted);
    await redis.call('DIRTY.ACK', 'takens', 'GROUP', 'g', 'operator', 'FORCE', ...all.map(([found]) => found));
    await sleep(500); // HOLD comes every 100 ms
    told.push(taken.aborted);
    setTimeout(() => worker.stop(), 300);
  }, { onLate: () => told.push('late') });
  await worker.run();
  connection.disconnect();
  assert.deepEqual(told, [0, false, true, 'late']); // the first one's handler learnt it, the second one is not handled
});

test('workers of several streams take turns, one event each', async () => {
  const turn = turns(1);
  /** @type {string[]} */
  const handled = [];
  let [running, most] = [0, 0];
  const pending = (/** @type {string} */ name) => redis.call('DIRTY.PENDING', `${name}s`, 'GROUP', 'g');
  const bothHave = async () => (await Promise.all(['long', 'short'].map(pending))).every((/** @type {any} */ all) => all.length);
  const connections = ['long', 'short'].map(() => redis.duplicate());
  const workers = ['long', 'short'].map((name, i) => {
    return new Worker(/** @type {Redis} */ (connections[i]), `${name}s`, 'g', async () => {
      most = Math.max(most, ++running);
      // However slow the machine is, both have read their events before one is handled.
      while (!handled.length && !(await bothHave())) await sleep(10);
      await sleep(1); // meanwhile the other one asks for its turn
      running--;
      if (handled.push(name) === 25) workers.forEach((worker) => worker.stop());
    }, { turn });
  });
  for (const [name, count] of /** @type {const} */ ([['long', 20], ['short', 5]])) {
    await group(name);
    await flush(name, ...Array.from({ length: count }, (_, id) => ['SNAPSHOT', id, 0]).flat());
  }
  await Promise.all(workers.map((worker) => worker.run()));
  connections.forEach((connection) => connection.disconnect());
  assert.equal(most, 1);
  assert.ok(handled.lastIndexOf('short') < 12, `the short backlog waited for the long one: ${handled}`);
});

test('a fatal error is the death of its event at once', async () => {
  await group('fatal');
  await flush('fatal', 'SNAPSHOT', 1, 0);
  const connection = redis.duplicate();
  const fates = /** @type {string[]} */ ([]);
  const worker = new Worker(connection, 'fatals', 'g', () => Promise.reject(new RangeError('no')), {
    isFatal: (error) => error instanceof RangeError,
    onFailed: (_, __, fate) => (fates.push(fate), worker.stop()),
  });
  await worker.run();
  connection.disconnect();
  assert.deepEqual(fates, ['dead']);
});

test('a worker without its group ends', async () => {
  await group('known');
  const worker = new Worker(redis, 'knowns', 'unknown', () => {});
  await assert.rejects(worker.run(), /NOREADER there is no group "unknown"/);
});

test('a worker whose connection is closed ends', { timeout: 10_000 }, async () => {
  await group('closed');
  const connection = redis.duplicate({ maxRetriesPerRequest: 0 });
  const worker = new Worker(connection, 'closeds', 'g', () => {}, { onOutage: () => {} });
  const ended = worker.run();
  await sleep(100);
  connection.disconnect();
  await assert.rejects(ended, /Connection is closed/);
});

test('what passes by itself is an outage', async () => {
  for (const [message, passes] of /** @type {const} */ ([
    ['BUSY Redis is busy running a script', true], ['MISCONF no snapshot', true], ['NOREPLICAS x', true], ['OOM x', true],
    ['ERR max number of clients reached', true], ['ERR syntax', false], ['NOREADER x', false], ['NOPERM x', false],
  ])) {
    const refuses = { call: () => Promise.reject(new ReplyError(message)) };
    await assert.rejects(send(refuses, 'PING'), (error) => error instanceof Outage === passes, message);
  }
});

test('a follower acknowledges a batch when the next one is asked for', async () => {
  await group('batch');
  await flush('batch', 'SNAPSHOT', 1, 0, 'SNAPSHOT', 2, 0, 'SNAPSHOT', 3, 0);
  const read = async (/** @type {number} */ batches) => {
    const ids = [];
    for await (const { events } of follow(redis, 'batchs', 'c', { toHead: true, count: 1 })) {
      ids.push(...events.map((/** @type {any} */ event) => event['entity-id']));
      if (!--batches) break; // as if the process had ended in the middle of it
    }
    return ids;
  };
  assert.deepEqual(await read(2), ['1', '2']);
  assert.deepEqual(await read(9), ['2', '3']);
  assert.deepEqual(await read(9), []);
});

test('a follower that has missed events tells it, or reads the snapshot', async () => {
  await group('gone');
  await flush('gone', 'SNAPSHOT', 1, 0, 'SNAPSHOT', 2, 0);
  await redis.xtrim('gones', 'MAXLEN', 1);
  await assert.rejects(follow(redis, 'gones', 'c', { toHead: true }).next(), new Missed(1));
  const [begun, ids] = [[], []].map((list) => /** @type {any[]} */ (list));
  for await (const { begin, events } of follow(redis, 'gones', 'c', { toHead: true, snapshot: ['gone'] })) {
    begun?.push(begin);
    ids?.push(...events.map((/** @type {any} */ event) => event['entity-id']));
  }
  assert.deepEqual([begun?.[0], ids?.sort()], [true, ['1', '2']]);
});
