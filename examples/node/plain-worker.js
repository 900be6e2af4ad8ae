// The auditor: reads the same stream without the module's commands, by XREADGROUP and a MessagePack library.

import { decode } from '@msgpack/msgpack';
import { Redis } from 'ioredis';

const STREAM = 'user-changes';
const GROUP = 'auditor';
const ME = 'auditor-1';
const OPERATIONS = { 1: 'insert', 2: 'update', 3: 'delete' };
const TYPES = { i: BigInt, u: BigInt, f: Number, b: (text) => text === '1' }; // the others are text

// `{"t": type, "v": text}`, or `{"n": true}` for null.
const value = ({ n, t, v }) => (n ? null : (TYPES[t] ?? String)(v));

function show(entry) {
  const event = decode(entry.s, { useBigInt64: true });
  const changes = Object.entries(event.ch ?? {}).map(([field, { o, n }]) => `${field}: ${value(o)} → ${value(n)}`);
  console.log(OPERATIONS[event.ft], event.et, String(event.id), `version ${event.v}:`, changes.join(', '));
}

let ended = false;
process.on('SIGTERM', () => (ended = true));
process.on('SIGINT', () => (ended = true));

const redis = new Redis(process.env.REDIS_URL ?? 'redis://localhost:6379');
try {
  await redis.xgroup('CREATE', STREAM, GROUP, '0', 'MKSTREAM');
} catch (error) {
  if (!error.message.startsWith('BUSYGROUP')) throw error;
}
let start = '0'; // at first what a worker of this name has not finished
while (!ended) {
  const reply = await redis.xreadgroupBuffer('GROUP', GROUP, ME, 'BLOCK', 1000, 'STREAMS', STREAM, start);
  const entries = reply?.[0][1] ?? [];
  if (!entries.length) start = '>';
  for (const [id, fields] of entries) {
    if (fields) show({ s: fields[1] }); // one that was trimmed while it was pending has none
    await redis.xack(STREAM, GROUP, id);
  }
}
redis.disconnect();
