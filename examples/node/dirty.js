// What worker.js and follower.js need: replies as objects, and whether an error will pass.

import { isUtf8 } from 'node:buffer';
import { ReplyError } from 'ioredis';

/** @import { Caller, Event, Reply, Words } from './types.js' */

/** Redis is away, or answers what passes by itself after a restart or a failover. Nobody knows whether it has heard. */
export class Outage extends Error {}

const PASSES = /^(UNBLOCKED|READONLY|LOADING|TRYAGAIN|CLUSTERDOWN|MASTERDOWN|OOM|BUSY|MISCONF|NOREPLICAS|ERR max number of clients) /;

/**
 * A command; throws an Outage, or the error that Redis answers.
 * @param {Caller} redis
 * @param {string} command
 * @param {Words} words
 */
export async function send(redis, command, ...words) {
  try {
    return await redis.call(command, ...words);
  } catch (error) {
    const { message } = /** @type {Error} */ (error);
    if (error instanceof ReplyError && !PASSES.test(message)) throw error;
    if (redis.status === 'end') throw error; // the program has closed the connection, which does not come back
    throw new Outage(message, { cause: error });
  }
}

/**
 * ioredis speaks RESP2, where a map is a flat array of its keys and values.
 * @param {unknown} flat
 * @returns {Record<string, any>}
 */
export function toMap(flat) {
  const words = /** @type {any[]} */ (flat);
  return Object.fromEntries(words.flatMap((key, i) => (i % 2 ? [] : [[key, words[i + 1]]])));
}

/**
 * The reply of DIRTY.CONSUME or DIRTY.READ with JSON.
 * @template [E=Event]
 * @param {unknown} flat
 * @returns {Reply<E>}
 */
export function parseReply(flat) {
  const reply = toMap(flat);
  const flags = { more: Boolean(reply.more), begin: Boolean(reply.begin) };
  return /** @type {Reply<any>} */ ({ ...reply, ...flags, events: reply.events.map(parseEvent) });
}

/**
 * One event. An event with a string that is not UTF-8 has all its strings in base64, but not its names, nor what is
 * within a value of type json.
 * @param {string} text
 * @returns {Event}
 */
export function parseEvent(text) {
  const event = parseExact(text);
  if (!event.base64) return event;
  const decoded = mapOf(event.base64, JSON.parse(text).base64, (value, plain, name) => {
    if (['before', 'after', 'meta', 'dead'].includes(name)) return mapOf(value, plain, bytes);
    return name === 'changes' ? mapOf(value, plain, bothBytes) : bytes(value, plain);
  });
  return /** @type {Event} */ (decoded);
}

/**
 * JSON in which integers beyond 2^53, which JSON.parse rounds, are the texts of their digits.
 * @param {string} text
 */
export function parseExact(text) {
  const exact = text.replace(/"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*/g, (token) =>
    /^-?\d{16,}$/.test(token) && !Number.isSafeInteger(Number(token)) ? `"${token}"` : token,
  );
  return JSON.parse(exact);
}

/**
 * @param {Record<string, any>} map
 * @param {Record<string, any>} plain the same with rounded numbers
 * @param {(value: any, plain: any, name: string) => any} change
 */
function mapOf(map, plain, change) {
  return Object.fromEntries(Object.entries(map).map(([name, value]) => [name, change(value, plain[name], name)]));
}

/** @param {any[]} both @param {any[]} plain */
const bothBytes = (both, plain) => both.map((value, i) => bytes(value, plain[i]));

/**
 * The text that stands in base64, or its bytes if it is not UTF-8.
 * @param {any} value
 * @param {any} plain
 */
function bytes(value, plain) {
  if (typeof plain !== 'string') return value;
  const decoded = Buffer.from(value, 'base64');
  return isUtf8(decoded) ? decoded.toString() : decoded;
}
