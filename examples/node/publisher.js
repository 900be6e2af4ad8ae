// Sends flushes one after the other in the background, so that who has something to say never waits for Redis.
//
// While Redis is away they wait in a buffer, and each attempt comes twice as late as the one before. A full buffer
// gives up its oldest: a later snapshot of the same entity brings along what it said. A reply may be lost and the flush
// sent again, so flushes must be such that a repetition does no harm: snapshots of a type with VERSION, or with ONCE.
//
// Each flush ends with one call: onFlushed; onDropped, if Redis does not have it; or onUnknown, if it was sent, its reply
// did not come, and it was given up.

import { setTimeout as sleep } from 'node:timers/promises';
import { Redis, ReplyError } from 'ioredis';

// Sent again, these would be refused again; all else (LOADING, OOM, READONLY, FULL, TRYAGAIN …) may pass.
const REFUSED = /^(ERR|EXISTS|NOENTITY|BADVALUE|WRONGTYPE|CROSSSLOT|NOPERM|LIMIT) /;

/** @import { Words } from './types.js' */
/**
 * @typedef {object} Options
 * @property {number} limit so many flushes wait at most
 * @property {number} firstDelay
 * @property {number} maxDelay
 * @property {number} replyTimeout
 * @property {(words: Words, effects: string[]) => void} [onFlushed]
 * @property {(words: Words, why: string) => void} [onDropped]
 * @property {(words: Words, why: string) => void} [onUnknown]
 * @property {(error: unknown) => void} [onRetry]
 */

export class Publisher {
  #redis;
  /** @type {Options} */
  #options;
  #declaration;
  #buffer = /** @type {{ words: Words, unanswered: number }[]} */ ([]);
  #sending = false; // the first of them, right now
  #running = /** @type {Promise<void> | undefined} */ (undefined); // until nothing waits
  #closed = false;

  /** @param {string} url @param {Words} declaration @param {Partial<Options>} options */
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
    this.#running = this.#redis
      .connect()
      .catch((error) => this.#options.onRetry?.(error))
      .then(() => this.#run());
  }

  /** Returns at once. `words` is what follows DIRTY.FLUSH. @param {Words} words */
  flush(...words) {
    if (this.#closed) throw new Error('the publisher is closed');
    // What is on its way makes room by itself.
    const oldest = this.#sending && this.#buffer.length > 1 ? 1 : 0;
    if (this.#buffer.length >= Math.max(this.#options.limit, 1)) this.#giveUp('the buffer is full', oldest);
    this.#buffer.push({ words, unanswered: 0 });
    this.#running ??= this.#run();
  }

  /** Waits until everything is sent, so many ms at most; what is left is given up. */
  async close(ms = 10_000) {
    this.#closed = true;
    const late = new AbortController();
    await Promise.race([this.#running, sleep(ms, undefined, { signal: late.signal })]);
    late.abort();
    while (this.#buffer.length) this.#giveUp('closed before Redis came back');
    this.#redis.disconnect();
  }

  async #run() {
    for (let failures = 0; this.#buffer.length; ) {
      const flush = this.#buffer[0];
      let effects = /** @type {string[]} */ ([]);
      let error = /** @type {Error | undefined} */ (undefined);
      if (this.#redis.status === 'ready') flush.unanswered++;
      this.#sending = true;
      try {
        effects = /** @type {string[]} */ (await this.#redis.call('DIRTY.FLUSH', ...flush.words));
      } catch (caught) {
        error = /** @type {Error} */ (caught);
      }
      this.#sending = false;
      if (error instanceof ReplyError) flush.unanswered--;
      if (flush !== this.#buffer[0]) continue; // given up meanwhile, and that was told
      if (error && !REFUSED.test(error.message)) {
        this.#options.onRetry?.(error);
        // Redis came back without its data, or declaring has failed before.
        if (error.message.startsWith('NODECL ')) await this.#declare();
        await sleep(this.#delay(++failures));
        continue;
      }
      failures = 0;
      if (error) {
        this.#giveUp(error.message);
        continue;
      }
      this.#buffer.shift();
      this.#options.onFlushed?.(flush.words, effects);
    }
    this.#running = undefined;
  }

  #declare() {
    const [command, ...words] = this.#declaration;
    return this.#redis.call(String(command), ...words).catch((error) => this.#options.onRetry?.(error));
  }

  /** @param {string} why */
  #giveUp(why, at = 0) {
    const [{ words, unanswered }] = this.#buffer.splice(at, 1);
    // Sent, and Redis may have carried it out, or may yet.
    if (unanswered) this.#options.onUnknown?.(words, why);
    else this.#options.onDropped?.(words, why);
  }

  /** @param {number} failures */
  #delay(failures) {
    return Math.min(this.#options.firstDelay * 2 ** (failures - 1), this.#options.maxDelay);
  }
}
