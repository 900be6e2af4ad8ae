// The events of a cursor, to be copied together with dirty.js and types.d.ts: for a copy of entities elsewhere.
//
//   for await (const { begin, events, phase } of follow(redis, 'user-changes', 'directory', { snapshot: ['user'] })) {
//     begin: from here on everything that exists is named; phase 'stream': what was not named since `begin` is gone
//   }
//
// A batch is acknowledged when the loop asks for the next one, so after a crash it comes again: what it says must be put
// in its place twice without harm. The connection must be one of its own, as that of worker.js.

import { setTimeout as sleep } from 'node:timers/promises';
import { Outage, parseReply, send } from './dirty.js';

/** @import { Caller, Event, Reply } from './types.js' */

/** Retention took events before they were read; their number, or null if nobody knows it. */
export class Missed extends Error {
  /** @param {number | null} number */
  constructor(number) {
    super(`${number ?? 'some'} events are lost`);
    this.number = number;
  }
}

/**
 * @template [E=Event]
 * @param {Caller} redis
 * @param {string} stream
 * @param {string} cursor one that DIRTY.READER has declared
 * @param {object} options
 * @param {string[]} [options.snapshot] the declarations to read once more when events were missed; else that is an error
 * @param {AbortSignal} [options.signal] ends the loop, when the batch in hand is acknowledged
 * @param {boolean} [options.toHead] ends it where nothing is left to read
 * @param {number} [options.count]
 * @param {number} [options.block]
 * @param {(outage: Outage) => void} [options.onOutage]
 * @returns {AsyncGenerator<Reply<E>, void, void>}
 */
export async function* follow(redis, stream, cursor, options = {}) {
  const { snapshot, signal, toHead, count = 100, block = 1000 } = options;
  const { onOutage = ({ message }) => console.warn(`Redis is away: ${message}`) } = options;
  const reader = [stream, 'CURSOR', cursor];
  /** @type {string[]} */
  let ack = [];
  for (let outages = 0, head = false; !signal?.aborted && !head; ) {
    try {
      const wait = toHead ? [] : ['BLOCK', block];
      const words = [...reader, ...ack, 'COUNT', count, ...wait, 'JSON'];
      const reply = /** @type {Reply<E>} */ (parseReply(await send(redis, 'DIRTY.CONSUME', ...words)));
      outages = 0;
      if (reply.missed !== 0) {
        if (!snapshot) throw new Missed(reply.missed);
        await send(redis, 'DIRTY.SEEK', ...reader, 'SNAPSHOT', snapshot.length, ...snapshot);
        ack = [];
        continue;
      }
      yield reply;
      ack = ['ACK', reply.position];
      head = Boolean(toHead) && !reply.more && reply.phase !== 'snapshot';
    } catch (error) {
      if (!(error instanceof Outage)) throw error;
      if (!outages) onOutage(error);
      await sleep(Math.min(100 * 2 ** outages++, 5000), undefined, { signal }).catch(() => {});
    }
  }
  if (!ack.length) return;
  await send(redis, 'DIRTY.ACK', ...reader, ack[1] ?? '').catch((error) => {
    if (!(error instanceof Outage)) throw error; // else the last batch comes again
  });
}
