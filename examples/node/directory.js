// The directory: keeps each user's name in a file, and in the same file how far it has read, so that each event counts
// once and Redis keeps nothing for it. Reads to the head of the stream, and ends.

import { readFile, rename, writeFile } from 'node:fs/promises';
import { Redis } from 'ioredis';

const FILE = process.env.DIRECTORY ?? 'directory.json';

const load = () => readFile(FILE, 'utf8').then(JSON.parse);
const state = await load().catch((error) => {
  if (error.code !== 'ENOENT') throw error;
  return { position: '0', names: {} };
});

// Only a replaced file has both, the names and the position.
async function save() {
  await writeFile(`${FILE}.new`, JSON.stringify(state));
  await rename(`${FILE}.new`, FILE);
}

function apply({ op, 'entity-id': id, changes }) {
  if (op === 'delete') delete state.names[id];
  else if (changes?.name) state.names[id] = changes.name[1];
}

const redis = new Redis(process.env.REDIS_URL ?? 'redis://localhost:6379');
const map = (flat) => Object.fromEntries(flat.flatMap((key, i) => (i % 2 ? [] : [[key, flat[i + 1]]])));
let read = 0;
for (let more = 1; more; ) {
  const batch = map(await redis.call('DIRTY.READ', 'user-changes', 'FROM', state.position, 'COUNT', 2, 'JSON'));
  // Null if nobody knows how many.
  if (batch.missed !== 0) console.log(`${batch.missed ?? 'some'} events are lost: load the users from the database`);
  for (const text of batch.events) apply(JSON.parse(text));
  ({ position: state.position, more } = batch);
  await save();
  read += batch.events.length;
}
console.log(`${read} events later:`, Object.values(state.names).join(', '));
redis.disconnect();
