// The shop in Node: see README.md for what each command does. `node shop.js COMMAND [ARGUMENT…]`

import { appendFile, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { connect, keyed, partition, turns } from '../node/cluster.js';
import { Outage, parseExact, parseReply, send, toMap } from '../node/dirty.js';
import { follow } from '../node/follower.js';
import { Worker } from '../node/worker.js';

/** @import { Caller, EventOf, Reply, Words } from '../node/types.js' */
/** @typedef {{ name: string, city: string, version: number }} Customer */
/** @typedef {{ customer: string, amount: string, lines: number, state: string, paid: boolean, version: number }} Order */
/** @typedef {EventOf<{ customer: Customer, order: Order }>} ShopEvent */
/** @typedef {{ entity: string, id: string, row: Customer | Order | null }} Saved */

const { SHOP = '.', PARTITIONS } = process.env;
const COUNT = PARTITIONS ? Number(PARTITIONS) : 1;
const ALL = Array.from({ length: COUNT }, (_, n) => n);
const TYPES = ['customer', 'order'];
const DECLARATIONS = {
  customer: ['VERSION', 'version', 'TYPES', 1, 'version', 'int'],
  order: [
    ...['VERSION', 'version', 'TYPES', 4],
    ...['version', 'int', 'amount', 'decimal:2', 'lines', 'int', 'paid', 'bool'],
  ],
};
const BILLING = ['ORDER', 'ENTITY', 'CLAIM', 1000, 'MAXDELIVERIES', 20, 'ONDEAD', 'PARK', 'WHERE', 'ENTITY', 'order'];

/** @param {string} name @param {number} n */
const at = (name, n) => (PARTITIONS ? `${name}{${n}}` : name);
/** @param {string} id */
const home = (id) => (PARTITIONS ? partition(id, COUNT) : 0);
/** @param {number} n */
const snapshot = (n) => ['SNAPSHOT', TYPES.length, ...TYPES.map((type) => at(type, n))];

/** @type {(() => void)[]} */
const connections = [];
/** A connection of its own, or in a cluster one to each node. @returns {Caller} */
function connection() {
  const { REDIS_URL = 'redis://localhost:6379', REDIS_CLUSTER } = process.env;
  if (REDIS_CLUSTER) {
    const cluster = connect(REDIS_CLUSTER.split(' ').map((node) => `redis://${node}`));
    connections.push(() => cluster.disconnect());
    return keyed(cluster);
  }
  const redis = new Redis(REDIS_URL, { maxRetriesPerRequest: 0, commandTimeout: 5000 });
  redis.on('error', () => {}); // each command tells of its own
  connections.push(() => redis.disconnect());
  return redis;
}

/** A command until Redis answers. @param {Caller} redis @param {string} command @param {Words} words @returns {Promise<any>} */
async function patiently(redis, command, ...words) {
  for (;;) {
    try {
      return await send(redis, command, ...words);
    } catch (error) {
      if (!(error instanceof Outage)) throw error;
      await sleep(100);
    }
  }
}

async function declare() {
  const redis = connection();
  for (const n of ALL) {
    const stream = at('shop-changes', n);
    for (const [type, words] of Object.entries(DECLARATIONS)) {
      await patiently(redis, 'DIRTY.DECLARE', at(type, n), ...words, 'STREAM', stream, 'PAYLOAD', 'FULL');
    }
    await patiently(redis, 'DIRTY.READER', stream, 'GROUP', 'billing', 'FROM', 0, ...BILLING);
    await patiently(redis, 'DIRTY.READER', stream, 'CURSOR', 'directory', 'FROM', ...snapshot(n));
  }
}

// Writing.

const NAMES = ['Åsa', 'Bo', 'Çelik', 'Dora', 'Émile'];
const CITIES = ['Oslo', 'Łódź', 'Paris', 'Roma'];
const STATES = ['new', 'packed', 'sent', 'back'];
/** @param {number} cents */
const money = (cents) => `${Math.floor(cents / 100)}.${String(cents % 100).padStart(2, '0')}`;

/** What writer K saves, step by step. @param {number} k @returns {Generator<Saved & { version: number }, never>} */
function* steps(k) {
  let x = 1000 + k;
  const draw = (/** @type {number} */ n) => (x = (x * 48271) % 2147483647) % n;
  const pick = (/** @type {string[]} */ list) => list[draw(list.length)] ?? '';
  /** @type {Map<string, number>} */
  const versions = new Map();
  /** @type {Map<string, { customer: string, cents: number, lines: number, state: string, paid: boolean }>} */
  const orders = new Map();
  const next = (/** @type {string} */ id) => {
    versions.set(id, (versions.get(id) ?? 0) + 1);
    return versions.get(id) ?? 0;
  };
  for (let i = 0; ; i++) {
    const a = draw(10);
    if (a === 0) {
      const [name, city] = [pick(NAMES), pick(CITIES)];
      const [id, version] = [`${name}-${k}`, next(`${name}-${k}`)];
      yield { entity: 'customer', id, row: { name, city, version }, version };
      continue;
    }
    const id = String(k + 3 * draw(40));
    const version = next(id);
    let order = orders.get(id);
    if (!order) {
      order = { customer: `${pick(NAMES)}-${k}`, cents: 1 + draw(9999), lines: 1, state: 'new', paid: false };
      orders.set(id, order);
    } else if (a === 9) {
      orders.delete(id);
      yield { entity: 'order', id, row: null, version };
      continue;
    } else {
      order.cents += 1 + draw(5000);
      order.lines++;
      [order.state, order.paid] = [pick(STATES), draw(2) === 1];
    }
    if (k === 1 && i === 20) order.state = 'poisoned';
    const { cents, ...fields } = order;
    yield { entity: 'order', id, row: { ...fields, amount: money(cents), version }, version };
  }
}

/** @param {string[]} words */
async function write(...words) {
  const [k = 0, first = 0, last = 0] = words.map(Number);
  const redis = connection();
  const count = { saved: 0, lost: 0 };
  const writer = steps(k);
  for (let i = 0; i < last; i++) {
    const { entity, id, row, version } = writer.next().value;
    if (i < first) continue;
    await appendFile(`${SHOP}/database-${k}.jsonl`, `${JSON.stringify({ entity, id, row })}\n`);
    count.saved++;
    if (i < 300 && i % 13 === 5) {
      count.lost++;
    } else {
      const change = row ? ['SNAPSHOT', id, 'JSON', JSON.stringify(row)] : ['DELETE', id, 1, 'version', version];
      await patiently(redis, 'DIRTY.FLUSH', at(entity, home(id)), 'META', 1, 'writer', k, ...change);
    }
    await sleep(8);
  }
  console.log(`writer ${k}: ${count.saved} saved, ${count.lost} lost`);
}

// Working.

class Poisoned extends Error {}

/** @param {ShopEvent} event */
async function bill(event) {
  if (event.op === undefined || event.op === 'read' || event.entity !== 'order') return;
  const { id, op, changes, version, deliveries } = event;
  const order = Number(event['entity-id']);
  if (changes?.state?.[1] === 'poisoned' && !(await readdir(SHOP)).includes('mended')) {
    throw new Poisoned(`order ${order} is poisoned`);
  }
  if (deliveries === 1 && order % 10 === 0) throw new Error(`order ${order} is busy`);
  await sleep(op === 'insert' && order % 40 === 7 ? 1500 : 12);
  const before = op === 'insert' ? '-' : (changes?.version?.[0] ?? version);
  const line = [id, order, op, before, op === 'delete' ? '-' : version, changes?.amount?.[1] ?? ''];
  await appendFile(`${SHOP}/ledger`, `${line.join('\t')}\n`);
}

async function work() {
  const turn = turns(1); // of all partitions one event at a time
  const workers = ALL.map((n) => {
    return new Worker(connection(), at('shop-changes', n), 'billing', bill, {
      ...{ turn, count: 10, firstDelay: 50, isFatal: (error) => error instanceof Poisoned },
      onFailed: () => {},
    });
  });
  until(() => workers.forEach((worker) => worker.stop()));
  await Promise.all(workers.map((worker) => worker.run()));
}

/** Until SIGTERM. @param {() => void} stop */
function until(stop) {
  process.once('SIGTERM', stop);
  console.log('ready');
}

// Projecting.

/** @typedef {{ build: number } & { [type: string]: { [id: string]: [build: number, row: any] } }} Copy */

/** @param {Copy} copy @param {ShopEvent} event */
function apply(copy, event) {
  if (event.op === undefined) return;
  const [rows, id] = [copy[event.entity] ?? {}, String(event['entity-id'])];
  const changes = 'changes' in event ? Object.entries(event.changes ?? {}).map(([field, [, now]]) => [field, now]) : [];
  const known = rows[id]?.[1];
  if (event.op === 'delete') delete rows[id];
  else if (event.op === 'read') rows[id] = [copy.build, event.after];
  else if (event.op === 'insert') rows[id] = [copy.build, Object.fromEntries(changes)];
  else if (known) rows[id] = [copy.build, { ...known, ...Object.fromEntries(changes) }];
}

async function project() {
  const file = `${SHOP}/directory.json`;
  /** @type {Copy[]} */
  const copies = await readFile(file, 'utf8').then(JSON.parse, () => ALL.map(() => ({ build: 0, customer: {}, order: {} })));
  const ended = new AbortController();
  until(() => ended.abort());
  const turn = turns(1); // for the file is one
  await Promise.all(ALL.map(async (n) => {
    const copy = /** @type {Copy} */ (copies[n]);
    const options = { snapshot: TYPES.map((type) => at(type, n)), signal: ended.signal };
    const batches = follow(connection(), at('shop-changes', n), 'directory', options);
    for await (const { begin, phase, events } of /** @type {AsyncGenerator<Reply<ShopEvent>>} */ (batches)) {
      if (!events.length && !phase) continue;
      await turn(async () => {
        if (begin) copy.build++;
        events.forEach((event) => apply(copy, event));
        for (const type of phase === 'stream' ? TYPES : []) {
          const named = Object.entries(copy[type] ?? {}).filter(([, [build]]) => build === copy.build);
          Object.assign(copy, { [type]: Object.fromEntries(named) });
        }
        await writeFile(`${file}.${process.pid}`, JSON.stringify(copies));
        await rename(`${file}.${process.pid}`, file);
      });
    }
  }));
}

async function rebuild() {
  const redis = connection();
  for (const n of ALL) await patiently(redis, 'DIRTY.SEEK', at('shop-changes', n), 'CURSOR', 'directory', ...snapshot(n));
}

// Repair.

async function dead() {
  const redis = connection();
  for (const n of ALL) {
    const reply = await patiently(redis, 'DIRTY.READ', `${at('shop-changes', n)}:dead`, 'FROM', 0, 'JSON');
    for (const event of parseReply(reply).events) {
      const error = String(event.dead?.error);
      if (event.op !== undefined) console.log(`order ${event['entity-id']}: ${error.slice(error.indexOf('order'))}`);
    }
  }
}

async function redrive() {
  const redis = connection();
  let count = 0;
  for (const n of ALL) count += await patiently(redis, 'DIRTY.REDRIVE', at('shop-changes', n), 'GROUP', 'billing', 'ALL');
  console.log(count);
}

/** The rows of all writers' databases, by type. */
async function database() {
  /** @type {{ [type: string]: Map<string, object> }} */
  const rows = { customer: new Map(), order: new Map() };
  for (const file of (await readdir(SHOP)).filter((name) => /^database-/.test(name))) {
    const lines = (await readFile(`${SHOP}/${file}`, 'utf8')).trim().split('\n');
    for (const { entity, id, row } of lines.map((line) => JSON.parse(line))) {
      if (row) rows[entity]?.set(id, row);
      else rows[entity]?.delete(id);
    }
  }
  return rows;
}

async function repair() {
  const redis = connection();
  const run = `repair-${process.pid}`;
  for (const type of TYPES) {
    const count = { repaired: 0, deleted: 0 };
    for (const n of ALL) await patiently(redis, 'DIRTY.RECONCILE', at(type, n), 'BEGIN', run);
    const rows = [...((await database())[type] ?? [])]; // after BEGIN
    for (const n of ALL) {
      const words = rows.filter(([id]) => home(id) === n).flatMap(([id, row]) => ['SNAPSHOT', id, 'JSON', JSON.stringify(row)]);
      if (words.length) await patiently(redis, 'DIRTY.FLUSH', at(type, n), 'RUN', run, ...words);
      for (let phase = ''; phase !== 'done'; ) {
        const status = toMap(await patiently(redis, 'DIRTY.RECONCILE', at(type, n), 'SWEEP', run, 'MAXDELETE', '50%'));
        ({ phase } = status);
        if (phase === 'done') [count.repaired, count.deleted] = [count.repaired + status.repaired, count.deleted + status.deleted];
      }
    }
    console.log(`${type}: ${count.repaired} repaired, ${count.deleted} deleted`);
  }
}

async function state() {
  const redis = connection();
  for (const [type, n] of TYPES.flatMap((type) => ALL.map((n) => /** @type {const} */ ([type, n])))) {
    for (let cursor = ''; cursor !== '0'; ) {
      const [next, page] = await patiently(redis, 'DIRTY.SCAN', at(type, n), cursor || 0, 'JSON');
      for (const [id, row] of page) console.log(JSON.stringify({ entity: type, id, row: parseExact(row) }));
      cursor = next;
    }
  }
}

const [, , command = '', ...words] = process.argv;
/** @type {{ [command: string]: (...words: string[]) => Promise<void> }} */
const commands = { declare, write, work, project, rebuild, dead, redrive, repair, state };
if (!commands[command]) throw new Error(`usage: node shop.js ${Object.keys(commands).join('|')}`);
await commands[command](...words);
connections.forEach((disconnect) => disconnect());
