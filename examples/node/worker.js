// A worker of a group, to be copied together with dirty.js and types.d.ts.
//
//   const worker = new Worker(redis, 'user-changes', 'mailer', async (event, taken) => { … });
//   for (const name of ['SIGTERM', 'SIGINT']) process.once(name, () => worker.stop());
//   await worker.run();
//
// It waits in BLOCK, so it needs a connection of its own, which must not send a command again by itself:
// new Redis(url, { maxRetriesPerRequest: 0, commandTimeout: 5000 }). An event may come twice: handling it twice must be
// harmless. DIRTY.HOLD tells Redis that a handler is still at work, but not while it computes without an await.

import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { Outage, parseReply, send, toMap } from './dirty.js';

/** @import { Caller, Event, Words } from './types.js' */

/** @template [E=Event] */
export class Worker {
  name = `${hostname()}-${process.pid}-${randomUUID().slice(0, 8)}`; // a new one for each process
  count = 100;
  block = 1000;
  firstDelay = 1000; // ms after which a failed event comes again, then twice as late each time
  maxDelay = 60_000;
  /** So many ms the group's ORDER and CLAIM count as known: DIRTY.STATS, which tells them, adds up the whole stream. */
  refresh = 60_000;
  isFatal = (/** @type {unknown} */ _error) => false; // no repetition mends it: the event dies at once
  turn = (/** @type {() => Promise<void>} */ job) => job(); // lets the handlers of several workers take turns
  /** Events are gone, null if nobody knows how many: load the entities. @type {(missed: number | null) => void} */
  onMissed = (missed) => console.warn(`${missed ?? 'some'} events of ${this.stream} are lost`);
  /** Another worker has it, too: this one was silent for longer than CLAIM. @type {(id: string) => void} */
  onLate = (id) => console.warn(`${id} of ${this.stream} was handled too late`);
  /** @type {(event: E, error: unknown, fate: string) => void} */
  onFailed = (_, error, fate) => console.warn(`${error}: ${fate}`);
  /** @type {(outage: Outage) => void} */
  onOutage = ({ message }) => console.warn(`Redis is away: ${message}`);

  #ended = new AbortController();
  #settings = { order: 'NONE', claim: 60_000, readAt: -Infinity };
  #done = /** @type {string[]} */ ([]); // the next call acknowledges them
  #inHand = { id: '', taken: new AbortController() };

  /**
   * @param {Caller} redis @param {string} stream @param {string} group
   * @param {(event: E, taken: AbortSignal) => Promise<void> | void} handle `taken` aborts if another worker has the event
   * @param {Partial<Worker<E>>} options */
  constructor(redis, stream, group, handle, options = {}) {
    this.redis = redis;
    this.stream = stream;
    this.group = group;
    this.handle = handle;
    Object.assign(this, options);
  }

  /** The handler in hand ends, what is done is acknowledged, and the others get the rest. */
  stop = () => this.#ended.abort();

  /** Works until stop(); throws whatever Redis refuses. */
  async run() {
    const { signal } = this.#ended;
    let pending = ['PENDING']; // at first: what a process of this name has not finished
    for (let outages = 0; !signal.aborted; ) {
      const words = ['ACK', this.#done.length, ...this.#done, ...pending, 'COUNT', this.count, 'BLOCK', this.block];
      try {
        const reply = parseReply(await this.#call('DIRTY.CONSUME', ...words, 'JSON'));
        // After a lost reply they may be what the lost call has acknowledged.
        if (!pending.length) reply['not-held'].forEach((id) => this.onLate(id));
        [this.#done, pending, outages] = [[], [], 0];
        if (reply.missed !== 0) this.onMissed(reply.missed);
        if (reply.events.length) await this.#handleAll(reply.events);
      } catch (error) {
        if (!(error instanceof Outage)) throw error;
        if (!outages) this.onOutage(error);
        pending = ['PENDING']; // the reply that was lost may have held events
        await sleep(Math.min(100 * 2 ** outages++, 5000), undefined, { signal }).catch(() => {});
      }
    }
    const acknowledged = this.#done.length ? this.#call('DIRTY.ACK', ...this.#done) : Promise.resolve([]);
    const told = acknowledged.then((/** @type {string[]} */ late) => late.forEach((id) => this.onLate(id)));
    await told.then(() => this.#call('DIRTY.LEAVE')).catch((/** @type {unknown} */ error) => {
      if (!(error instanceof Outage)) throw error; // else what it holds comes to others when CLAIM is over
    });
  }

  /** @param {string} command @param {Words} words @returns {Promise<any>} */
  #call(command, ...words) {
    return send(this.redis, command, this.stream, 'GROUP', this.group, this.name, ...words);
  }

  async #readSettings() {
    if (performance.now() - this.#settings.readAt < this.refresh) return;
    const { readers } = toMap(await send(this.redis, 'DIRTY.STATS', this.stream));
    const group = readers.map(toMap).find((/** @type {any} */ { name }) => name === this.group);
    if (group) this.#settings = { order: group.order, claim: group['claim-ms'], readAt: performance.now() };
  }

  /** @param {Event[]} events */
  async #handleAll(events) {
    await this.#readSettings();
    const held = new Map(events.map((event) => [event.id ?? '', event]));
    const period = Math.min(Math.max(this.#settings.claim / 3, 10), 3_600_000);
    const heartbeat = setInterval(() => this.#hold(held).catch(() => {}), period); // the next call meets its error
    try {
      for (const [id, event] of held) {
        await this.turn(async () => {
          if (held.has(id) && !this.#ended.signal.aborted) await this.#handleOne(id, event, held);
        });
      }
    } finally {
      clearInterval(heartbeat);
    }
  }

  /** @param {string} id @param {Event} event @param {Map<string, Event>} held */
  async #handleOne(id, event, held) {
    this.#inHand = { id, taken: new AbortController() };
    const { signal } = this.#inHand.taken;
    try {
      await this.handle(/** @type {E} */ (event), signal);
    } catch (error) {
      if (signal.aborted) return; // another worker's success or failure counts
      const delay = ['DELAY', Math.min(this.maxDelay, this.firstDelay * 2 ** (event.deliveries - 1))];
      const how = this.isFatal(error) ? ['FATAL'] : delay;
      const [fate] = await this.#call('DIRTY.FAIL', `${error}`, ...how, id);
      // It has given back the later events of its key, too. They come again behind this one.
      const key = this.#key(event);
      for (const [id, other] of held) if (this.#key(other) === key && !this.#done.includes(id)) held.delete(id);
      return this.onFailed(/** @type {E} */ (event), error, fate);
    }
    this.#done.push(id);
  }

  /** Events of one key must not overtake each other. @param {any} event */
  #key({ id, entity, meta, ...event }) {
    const { order } = this.#settings;
    if (order === 'STREAM') return '';
    if (order === 'ENTITY' && entity !== undefined) return JSON.stringify([entity, event['entity-id']]);
    const value = order.startsWith('META ') && meta?.[order.slice(5)];
    return value === undefined || value === false ? id : JSON.stringify(value);
  }

  /** @param {Map<string, unknown>} held */
  async #hold(held) {
    for (const id of await this.#call('DIRTY.HOLD', ...held.keys())) {
      held.delete(id);
      if (id === this.#inHand.id) this.#inHand.taken.abort();
    }
  }
}
