// The events of a stream, as dirty.js makes them of the JSON of DIRTY.CONSUME and DIRTY.READ.

/**
 * A value by the type that its field has in the declaration: int, uint and float are numbers (an integer beyond 2^53 is
 * the text of its digits, so `BigInt(value)` takes any integer); bool is a boolean; decimal, time, date, datetime and
 * string are texts; json is what it holds; a string that is not UTF-8 is a Buffer.
 */
export type Value = null | boolean | number | string | Buffer | Value[] | { [key: string]: Value };

/** An int or uint: a number up to 2^53, the text of its digits beyond. */
export type Integer = number | string;

/** A text, or the bytes of one that is not UTF-8. */
export type Text = string | Buffer;

/** The fields of an entity type. */
export type Row = { [field: string]: Value | undefined };

/** The old and the new value; null is "not there". */
export type Change<T> = [before: T | null, after: T | null];
export type Changes<R> = { [field in keyof R]?: Change<NonNullable<R[field]>> };

/** In a dead stream: who gave the event up, and why. */
export interface Dead {
  id: string;
  stream: Text;
  reader: Text;
  consumer: Text;
  error: Text;
  deliveries: number;
  failures: number;
  'first-ms': number;
  'last-ms': number;
}

interface Entity<Name extends string, R> {
  /** The event's id in the stream; a `read` has none. */
  id: string;
  entity: Name;
  'entity-id': Text;
  version?: Integer;
  /** By PAYLOAD: the changed fields, or the whole states. */
  changes?: Changes<R>;
  before?: R;
  after?: R;
  meta?: { [name: string]: Text };
  /** In a group: how often it was delivered, this time included, and how often that failed. */
  deliveries: number;
  failures?: number;
  dead?: Dead;
}
export type EntityEvent<Name extends string, R> =
  | (Entity<Name, R> & { op: 'insert' | 'update' | 'delete' | 'touch' })
  | (Omit<Entity<Name, R>, 'id' | 'changes' | 'before'> & { op: 'read'; id: null });

/** An entry that the module did not write. */
export interface Entry {
  id: string;
  op?: undefined;
  fields: Text[];
  deliveries: number;
  dead?: Dead;
}

/** The events of a stream of these types: `EventOf<{ user: User; order: Order }>`. */
export type EventOf<Rows> = { [E in keyof Rows & string]: EntityEvent<E, Rows[E]> }[keyof Rows & string] | Entry;

/** The events of any stream. */
export type Event = EventOf<{ [entity: string]: Row }>;

/** What a group or cursor answers. */
export interface Reply<E = Event> {
  events: E[];
  /** Events that are gone before they were read; null if nobody knows the number. */
  missed: number | null;
  more: boolean;
  'not-held': string[];
  position: string;
  phase?: 'snapshot' | 'stream';
  scanned?: number;
  begin?: boolean;
}

export type Words = (string | number | Buffer)[];

/** Redis of ioredis has it, and so has keyed() of cluster.js. */
export interface Caller {
  call(command: string, ...words: Words): Promise<unknown>;
  status?: string;
}
