// The directory: keeps each user's name in a file, and in the same file how far it has read, so that each event counts
// once and Redis keeps nothing for it. Reads to the head of the stream, and ends.

import { readFile, rename, writeFile } from 'node:fs/promises';
import { Redis } from 'ioredis';
import { parseReply, send } from './dirty.js';

/** @import { EventOf, Reply } from './types.js' */
/** @typedef {EventOf<{ user: { name: string } }>} UserEvent */

const FILE = process.env.DIRECTORY ?? 'directory.json';

const load = () => readFile(FILE, 'utf8').then(JSON.parse);
/** @type {{ position: string, names: { [id: string]: string | null } }} */
const state = await load().catch((error) => {
  if (error.code !== 'ENOENT') throw error;
  return { position: '0', names: {} };
});

// Only a replaced file has both, the names and the position.
async function save() {
  await writeFile(`${FILE}.new`, JSON.stringify(state));
  await rename(`${FILE}.new`, FILE);
}

/** @param {UserEvent} event */
function apply(event) {
  if (event.op === undefined) return;
  const id = String(event['entity-id']);
  if (event.op === 'delete') delete state.names[id];
  else if (event.op !== 'read' && event.changes?.name) state.names[id] = event.changes.name[1];
}

const redis = new Redis(process.env.REDIS_URL ?? 'redis://localhost:6379');
let read = 0;
for (let more = true; more; ) {
  const words = ['user-changes', 'FROM', state.position, 'COUNT', 2, 'JSON'];
  const batch = /** @type {Reply<UserEvent>} */ (parseReply(await send(redis, 'DIRTY.READ', ...words)));
  // Null if nobody knows how many.
  if (batch.missed !== 0) console.log(`${batch.missed ?? 'some'} events are lost: load the users from the database`);
  batch.events.forEach(apply);
  ({ position: state.position, more } = batch);
  await save();
  read += batch.events.length;
}
console.log(`${read} events later:`, Object.values(state.names).join(', '));
redis.disconnect();
