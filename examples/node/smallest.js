import { Redis } from 'ioredis';

const redis = new Redis(process.env.REDIS_URL);
await redis.call('DIRTY.DECLARE', 'book', 'TYPES', 1, 'pages', 'int', 'STREAM', 'book-changes');
await redis.call('DIRTY.READER', 'book-changes', 'GROUP', 'printer', 'FROM', 0);
await redis.call('DIRTY.FLUSH', 'book', 'SNAPSHOT', 1, 'JSON', JSON.stringify({ title: 'Dune', pages: 412 }));
await redis.call('DIRTY.FLUSH', 'book', 'SNAPSHOT', 1, 'JSON', JSON.stringify({ title: 'Dune', pages: 604 }));

const [, events] = await redis.call('DIRTY.CONSUME', 'book-changes', 'GROUP', 'printer', 'p1', 'JSON');
for (const event of events.map((text) => JSON.parse(text))) {
  console.log(event.op, event['entity-id'], event.changes ?? {});
  await redis.call('DIRTY.ACK', 'book-changes', 'GROUP', 'printer', 'p1', event.id);
}
redis.disconnect();
