// An entity type over the nodes of a Redis Cluster, as docs/clusters.md says: it is declared n times, with the keys
// user{0} … user{n-1} and the streams user-changes{0} …, and each of its entities is in the partition of its id. To read a
// group of all partitions, let a worker read each, with connections of its own, and let their handlers take turns:
//
//   const turn = turns(1);
//   const workers = partitions.map((n) => {
//     return new Worker(keyed(connect(nodes)), `user-changes{${n}}`, 'mailer', handle, { turn });
//   });
//   await Promise.all(workers.map((worker) => worker.run()));

import { Cluster, Command } from 'ioredis';

/** @import { ClusterNode, ClusterOptions } from 'ioredis' */
/** @import { Caller } from './types.js' */

/**
 * The partition of an entity: the CRC16 of its id (that of Redis Cluster, over the whole id), modulo n.
 * @param {string | number | bigint | Buffer} id
 * @param {number} n
 */
export const partition = (id, n) => crc16(Buffer.isBuffer(id) ? id : Buffer.from(String(id))) % n;

/** @param {Buffer} bytes */
export function crc16(bytes) {
  let crc = 0;
  for (const byte of bytes) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit++) crc = ((crc << 1) ^ (crc & 0x8000 ? 0x1021 : 0)) & 0xffff;
  }
  return crc;
}

/** The first word of each DIRTY.* command is its key; ioredis would send commands that it does not know to any node. */
class Keyed extends Command {
  getKeys() {
    return this.args.slice(0, 1).map(String);
  }
}

/**
 * @param {Cluster} cluster
 * @returns {Caller}
 */
export const keyed = (cluster) => ({
  call: async (command, ...words) => cluster.sendCommand(new Keyed(command, words, { replyEncoding: 'utf8' })),
});

/**
 * A client for one loop that waits in BLOCK: its own connections, and no repetition of a command whose reply is lost.
 * @param {ClusterNode[]} nodes
 * @param {ClusterOptions} options
 */
export function connect(nodes, options = {}) {
  const redisOptions = { commandTimeout: 5000, ...options.redisOptions };
  const cluster = new Cluster(nodes, { retryDelayOnFailover: 0, ...options, redisOptions });
  cluster.on('error', () => {}); // each command tells of its own
  return cluster;
}

/**
 * So many jobs at a time; the others wait in the order in which they came.
 * @param {number} places
 */
export function turns(places) {
  /** @type {(() => void)[]} */
  const waiting = [];
  return async (/** @type {() => Promise<void>} */ job) => {
    if (places > 0) places--;
    else await new Promise((/** @type {(free: void) => void} */ free) => waiting.push(free));
    try {
      await job();
    } finally {
      const next = waiting.shift();
      if (next) next();
      else places++;
    }
  };
}
