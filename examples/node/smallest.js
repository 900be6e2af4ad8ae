import { Redis } from 'ioredis';

const redis = new Redis(process.env.REDIS_URL);
await redis.call('DIRTY.DECLARE', 'book', 'TYPES', 1, 'pages', 'int', 'STREAM', 'book-changes');
await redis.call('DIRTY.FLUSH', 'book', 'SNAPSHOT', 1, 'JSON', JSON.stringify({ title: 'Dune', pages: 412 }));
await redis.call('DIRTY.FLUSH', 'book', 'SNAPSHOT', 1, 'JSON', JSON.stringify({ title: 'Dune', pages: 604 }));

const map = (flat) => Object.fromEntries(flat.flatMap((key, i) => (i % 2 ? [] : [[key, flat[i + 1]]])));
const { events } = map(await redis.call('DIRTY.CONSUME', 'book-changes', 'GROUP', 'printer', 'p1'));
for (const event of events.map(map)) {
  console.log(event.op, event.entity_id, map(event.changes ?? []));
  await redis.call('DIRTY.ACK', 'book-changes', 'GROUP', 'printer', event.id);
}
redis.disconnect();
