// Sends flushes one after the other in the background, so that who has something to say never waits for Redis.
//
// While Redis is away they wait in a buffer, and each attempt comes twice as late as the one before. A full buffer
// drops its oldest: a later snapshot of the same entity brings along what it said. A reply may be lost and the flush
// sent again, so flushes must be such that a repetition does no harm: snapshots of a type with VERSION, or with ONCE.

import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';

// Sent again, these would be refused again; all else (LOADING, OOM, READONLY, FULL, TRYAGAIN …) may pass.
const REFUSED = /^(ERR|EXISTS|NOENTITY|BADVALUE|WRONGTYPE|CROSSSLOT|NOPERM|LIMIT) /;

export class Publisher {
  #redis;
  #options;
  #declaration;
  #buffer = [];
  #running;
  #closed = false;

  constructor(url, declaration, options) {
    this.#options = { limit: 1000, firstDelay: 50, maxDelay: 2000, replyTimeout: 1000, ...options };
    this.#declaration = declaration;
    this.#redis = new Redis(url, {
      lazyConnect: true,
      enableOfflineQueue: false, // the buffer is here
      maxRetriesPerRequest: 0, // and so are the repetitions
      commandTimeout: this.#options.replyTimeout,
      retryStrategy: (times) => this.#delay(times),
    });
    this.#redis.on('error', () => {}); // each flush tells of its own
    // On each new connection, before anything else is sent there; the same again changes nothing.
    this.#redis.on('ready', () => this.#declare());
    this.#running = this.#redis.connect().catch((error) => this.#options.onRetry?.(error));
  }

  /** Returns at once. `words` is what follows DIRTY.FLUSH. */
  flush(...words) {
    if (this.#closed) throw new Error('the publisher is closed');
    // The first is on its way to Redis, so the next is the oldest that can go.
    if (this.#buffer.length >= this.#options.limit) this.#drop(1, 'the buffer is full');
    this.#buffer.push(words);
    if (this.#buffer.length === 1) this.#running = this.#running.then(() => this.#run());
  }

  /** Waits until everything is sent, so many ms at most; what is left is dropped. */
  async close(ms = 10_000) {
    this.#closed = true;
    const late = new AbortController();
    await Promise.race([this.#running, sleep(ms, undefined, { signal: late.signal })]);
    late.abort();
    while (this.#buffer.length) this.#drop(0, 'closed before Redis came back');
    this.#redis.disconnect();
  }

  async #run() {
    for (let failures = 0; this.#buffer.length; ) {
      const words = this.#buffer[0];
      let effects, refusal;
      try {
        effects = await this.#redis.call('DIRTY.FLUSH', ...words);
      } catch (error) {
        if (!REFUSED.test(error.message)) {
          this.#options.onRetry?.(error);
          // Redis came back without its data, or declaring has failed before.
          if (error.message.startsWith('NODECL ')) await this.#declare();
          await sleep(this.#delay(++failures));
          continue;
        }
        refusal = error.message;
      }
      failures = 0;
      this.#buffer.shift();
      if (effects) this.#options.onFlushed?.(words, effects);
      else this.#options.onDropped?.(words, refusal);
    }
  }

  #declare() {
    return this.#redis.call(...this.#declaration).catch((error) => this.#options.onRetry?.(error));
  }

  #drop(at, why) {
    const [words] = this.#buffer.splice(at, 1);
    if (words) this.#options.onDropped?.(words, why);
  }

  #delay(failures) {
    return Math.min(this.#options.firstDelay * 2 ** (failures - 1), this.#options.maxDelay);
  }
}
