#!/usr/bin/env python3
"""Shows the events of streams as they happen, a line each, for people who want to look.

    watch.py [option …] stream [stream …]

    -h HOST      the server (127.0.0.1)
    -p PORT      its port (6379)
    -s SOCKET    its unix socket instead
    -n DB        the logical database (0)
    --user NAME  the user to log in as; the password is taken from REDISCLI_AUTH, as redis-cli does
    --tls        by TLS; --cacert FILE: who signed the server's certificate
    --last N     begin with the last N events of each stream (10)
    --no-follow  and stop there
    --full       do not shorten long values
    --color      always, never, or auto (only on a terminal, and not with NO_COLOR): --color=never

It only sends XREVRANGE and XREAD, so it leaves nothing in the stream: no group, no cursor, nothing that
retention would wait for. It needs the right to read the stream and no other, and works on replicas.
Python's standard library is all it needs.
"""

import argparse
import json
import os
import re
import signal
import socket
import ssl
import struct
import sys
from datetime import datetime

# ---- Bytes to text that is safe to print ----

NAMED = {'\n': '\\n', '\r': '\\r', '\t': '\\t', '\\': '\\\\', '"': '\\"'}


def escaped(text):
    """What a terminal may take for a command (controls, changes of the writing direction, bytes that are no
    UTF-8) is spelled out. Whoever writes to the stream decides what is in there, so nothing gets past this."""

    def one(char):
        code = ord(char)
        if char in NAMED:
            return NAMED[char]
        if char.isprintable():
            return char
        if 0xDC80 <= code <= 0xDCFF:  # a byte that is no UTF-8, see `decoded`
            return '\\x%02x' % (code - 0xDC00)
        return '\\x%02x' % code if code < 0x80 else '\\u{%x}' % code

    return ''.join(map(one, text))


def decoded(data):
    if isinstance(data, bytes):
        return data.decode('utf-8', 'surrogateescape')
    if isinstance(data, (str, int, float, type(None))):
        return str(data)
    raise TypeError('a list or map where a text must be')


# ---- Events of each FORMAT ----


class Typed:
    """A value that needs no quotes: a number, a boolean."""

    def __init__(self, text):
        self.text = decoded(text)

    def __eq__(self, other):
        return isinstance(other, Typed) and self.text == other.text


class Event:
    def __init__(self, op, entity, entity_id, fields=(), meta=()):
        self.op, self.entity, self.entity_id = op, entity, entity_id
        self.fields = fields  # (field, old, new) each; None is null, ABSENT is not told
        self.meta = meta  # (name, value) each


ABSENT = object()
BAD = (ValueError, KeyError, IndexError, TypeError, AttributeError, struct.error, RecursionError, OverflowError)


def unpacked(data):
    """MessagePack: maps as lists of pairs, because keys may repeat and be anything; texts as bytes."""
    at = 0

    def take(count):
        nonlocal at
        if at + count > len(data):
            raise ValueError('cut short')
        at += count
        return data[at - count : at]

    def number(form):
        return struct.unpack('>' + form, take(struct.calcsize(form)))[0]

    def array(count):
        return [value() for _ in range(count)]

    def pairs(count):
        return Map((value(), value()) for _ in range(count))

    def value():
        lead = take(1)[0]
        if lead < 0x80:
            return lead
        if lead >= 0xE0:
            return lead - 0x100
        if lead < 0x90:
            return pairs(lead & 0x0F)
        if lead < 0xA0:
            return array(lead & 0x0F)
        if lead < 0xC0:
            return take(lead & 0x1F)
        if lead in (0xC0, 0xC2, 0xC3):
            return {0xC0: None, 0xC2: False, 0xC3: True}[lead]
        if lead in NUMBERS:
            return number(NUMBERS[lead])
        if lead in LENGTHS:
            kind, form = LENGTHS[lead]
            return {'text': take, 'array': array, 'map': pairs}[kind](number(form))
        raise ValueError('no value begins so')

    result = value()
    if at != len(data):
        raise ValueError('more than one value')
    return result


NUMBERS = {0xCA: 'f', 0xCB: 'd', 0xCC: 'B', 0xCD: 'H', 0xCE: 'I', 0xCF: 'Q', 0xD0: 'b', 0xD1: 'h', 0xD2: 'i', 0xD3: 'q'}
LENGTHS = {
    0xC4: ('text', 'B'), 0xC5: ('text', 'H'), 0xC6: ('text', 'I'),
    0xD9: ('text', 'B'), 0xDA: ('text', 'H'), 0xDB: ('text', 'I'),
    0xDC: ('array', 'H'), 0xDD: ('array', 'I'), 0xDE: ('map', 'H'), 0xDF: ('map', 'I'),
}  # fmt: skip


class Map(list):
    """A MessagePack map. FluxaORM's second generation has keys that end with `,omitempty`."""

    def get(self, key, default=None):
        for found, value in self:
            if found in (key, key + b',omitempty'):
                return value
        return default


OPS = {1: 'insert', 2: 'update', 3: 'delete'}


def msgpack_event(fields):
    event = unpacked(fields[b's'])

    def value(map):
        if map.get(b'n'):
            return None
        kind, text = map.get(b't'), map.get(b'v')
        if kind == b'b':
            return Typed('true' if text == b'1' else 'false')
        return Typed(text) if kind in (b'i', b'u', b'f') else decoded(text)

    changes, before, after = event.get(b'ch'), event.get(b'b'), event.get(b'a')
    if changes is not None:
        told = [(field, value(both.get(b'o')), value(both.get(b'n'))) for field, both in changes]
    else:
        images = [image and [(field, value(map)) for field, map in image] for image in (before, after)]
        told = compared(*images)
    op = OPS[event.get(b'ft')]
    if op == 'update' and changes is None and before and before == after:
        op = 'touch'
    return Event(op, event.get(b'et'), event.get(b'id'), told, event.get(b'm') or ())


def compared(before, after):
    """Two images (pairs of a field and a value, or None) as changes."""
    old, new = dict(before or ()), dict(after or ())
    fields = sorted({**old, **new}, key=decoded)
    return [(field, old.get(field), new.get(field)) for field in fields if old.get(field) != new.get(field)]


def fluxaorm1_event(fields):
    op = {b'add': 'insert', b'edit': 'update', b'delete': 'delete'}[fields[b'action']]

    def value(data):
        return native(decoded(data) if isinstance(data, bytes) else data)

    pairs = [(field, value(data)) for field, data in unpacked(fields[b's']) if field != b'ID']
    if op != 'update':  # they have all columns, also those that are null
        pairs = [(field, data) for field, data in pairs if data is not None]
    if op == 'delete':
        told = [(field, data, None) for field, data in pairs]
    else:
        told = [(field, ABSENT if op == 'update' else None, data) for field, data in pairs]
    return Event(op, fields[b'entity'], fields[b'id'], told)


def debezium_event(fields):
    def parsed(text):
        return json.loads(text.decode('utf-8'), parse_int=Typed, parse_float=Typed)

    value, key = parsed(fields[b'value']), parsed(fields[b'key'])
    op = {'c': 'insert', 'u': 'update', 'd': 'delete', 'r': 'touch'}[value['op']]
    images = [
        image and [(field, native(data)) for field, data in image.items()] for image in (value['before'], value['after'])
    ]
    if op == 'update' and images[0] == images[1]:
        op = 'touch'
    source, entity_id = value['source'], key['id']
    entity_id = entity_id.text if isinstance(entity_id, Typed) else entity_id
    return Event(op, source['table'], entity_id, compared(*images), list(source.get('meta', {}).items()))


TIME = re.compile(rb'(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)', re.ASCII)
FLAT = {b'operation', b'id', b'occurred_at'}


def flat_event(fields):
    """The entry's other fields are the entity's and META's: nothing tells them apart but in a delete, which has no others."""
    entity, word = fields[b'operation'].rsplit(b'.', 1)
    op = {b'create': 'insert', b'update': 'update', b'remove': 'delete'}[word.split(b'_', 1)[0]]
    time = TIME.fullmatch(fields[b'occurred_at'])
    if not time:
        raise ValueError('no time')
    datetime.strptime(decoded(time[1] + b' ' + time[2]), '%Y-%m-%d %H:%M:%S')
    others = [(field, decoded(data)) for field, data in fields.items() if field not in FLAT]
    if op == 'delete':
        return Event(op, entity, fields[b'id'], [], others)
    old = ABSENT if op == 'update' else None
    return Event(op, entity, fields[b'id'], [(field, old, data) for field, data in others])


def native(value):
    """A value of JSON or MessagePack that says itself what it is."""
    if value is None or isinstance(value, (str, Typed)):
        return value
    if isinstance(value, (bool, int, float)):
        return Typed(str(value).lower())
    return json.dumps(value, ensure_ascii=False, default=lambda typed: typed.text)


FORMATS = [
    ({b's'}, msgpack_event),
    ({b's', b'action', b'entity', b'id'}, fluxaorm1_event),
    ({b'key', b'value'}, debezium_event),
    (FLAT, flat_event),
]


# What an entry of a dead stream has behind the event's own fields.
DEAD = [b'dead-' + name for name in b'id stream reader consumer error deliveries failures first last'.split()]


def parted(pairs):
    """The event's own fields, and those that tell why it died, or None."""
    own, dead = pairs[: -len(DEAD)], pairs[-len(DEAD) :]
    return (own, dict(dead)) if own and [name for name, _ in dead] == DEAD else (pairs, None)


def understood(pairs):
    """The event in an entry, or None: anybody may append anything."""
    fields = dict(pairs)
    for names, read in FORMATS:
        fits = names <= set(fields) if names is FLAT else names == set(fields)
        if fits and len(pairs) == len(fields):
            try:
                return read(fields)
            except BAD:
                return None
    return None


# ---- Lines ----

COLORS = {'insert': 32, 'update': 33, 'delete': 31, 'touch': 36, 'entry': 35, 'dim': 2, 'bold': 1}


class Writer:
    SHOWN = 60  # characters of a text, and fields of an event, without --full
    FIELDS = 20

    def __init__(self, color, full, several):
        self.color, self.full, self.several = color, full, several

    def paint(self, how, text):
        return '\x1b[%dm%s\x1b[0m' % (COLORS[how], text) if self.color else text

    def quoted(self, text):
        cut = len(text) - self.SHOWN
        if self.full or cut <= 0:
            return '"%s"' % escaped(text)
        return '"%s"… (+%d)' % (escaped(text[: self.SHOWN]), cut)

    def name(self, data):
        """A name or an id: bare if it is a word, else in quotes."""
        text = decoded(data)
        bare = 0 < len(text) <= self.SHOWN and all(char.isalnum() or char in '-_.@/{}' for char in text)
        return text if bare else self.quoted(text)

    def value(self, value):
        if value is None:
            return self.paint('dim', 'null')
        if isinstance(value, Typed) and len(value.text) <= self.SHOWN:
            return escaped(value.text)
        return self.quoted(value.text if isinstance(value, Typed) else value)

    def some(self, parts):
        """Not more of them than one wants to read."""
        parts = list(parts)
        cut = 0 if self.full else len(parts) - self.FIELDS
        return parts if cut <= 0 else parts[: self.FIELDS] + ['… (+%d)' % cut]

    def field(self, field, old, new):
        label, new = self.name(field) + ':', self.value(new)
        if old is ABSENT:
            return '%s → %s' % (label, new)
        return '%s %s → %s' % (label, self.value(old), new)

    def line(self, stream, entry_id, pairs):
        pairs, dead = parted(pairs)
        event = understood(pairs)
        op = event.op if event else 'entry'
        parts = [self.paint('dim', time(entry_id)), self.paint(op, '%-6s' % op)]
        if self.several:
            parts.insert(1, self.name(stream))
        try:
            parts += self.told(event) if event else self.raw(pairs)
        except BAD:  # a shape that is no event's, such as a list where a text must be
            parts = parts[:-1] + [self.paint('entry', 'entry ')] + self.raw(pairs)
        return '  '.join(parts + ([self.paint('delete', self.died(dead))] if dead else []))

    def died(self, dead):
        words = [self.name(dead[b'dead-' + name]) for name in (b'reader', b'consumer', b'deliveries')]
        error = self.quoted(decoded(dead[b'dead-error']))
        return '(dead: reader=%s, consumer=%s, deliveries=%s, error=%s)' % (*words, error)

    def told(self, event):
        who = self.paint('bold', self.name(event.entity) + ':' + self.name(event.entity_id))
        fields = self.some(self.field(*field) for field in event.fields)
        meta = self.some('%s=%s' % (self.name(key), self.quoted(decoded(value))) for key, value in event.meta)
        return [who] + fields + ([self.paint('dim', '(' + ', '.join(meta) + ')')] if meta else [])

    def raw(self, pairs):
        return self.some('%s: %s' % (self.name(field), self.quoted(decoded(data))) for field, data in pairs)


def time(entry_id):
    """When it was, here. The id of an entry that somebody else appended need not be a time."""
    ms = int(entry_id.split(b'-')[0])
    try:
        return datetime.fromtimestamp(ms // 1000).strftime('%Y-%m-%d %H:%M:%S') + '.%03d' % (ms % 1000)
    except (ValueError, OverflowError, OSError):
        return escaped(decoded(entry_id))


# ---- The server ----


class ServerError(Exception):
    pass


class Server:
    def __init__(self, options):
        where = options.s or '%s:%d' % (options.h, options.p)
        try:
            if options.s:
                self.socket = socket.socket(socket.AF_UNIX)
                self.socket.connect(options.s)
            else:
                self.socket = socket.create_connection((options.h, options.p))
        except OSError as error:
            raise ServerError('no server at %s: %s' % (escaped(where), error.strerror or error)) from error
        if not options.s:
            # A connection whose other end is gone without a word is noticed after some minutes.
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if options.tls:
            context = ssl.create_default_context(cafile=options.cacert)
            self.socket = context.wrap_socket(self.socket, server_hostname=options.h)
        self.file = self.socket.makefile('rb')
        password = os.environ.get('REDISCLI_AUTH')
        if password:
            self.call('AUTH', *([options.user] if options.user else []), password)
        if options.n:
            self.call('SELECT', options.n)

    def call(self, *words):
        words = [word if isinstance(word, bytes) else os.fsencode(str(word)) for word in words]
        request = b'*%d\r\n' % len(words) + b''.join(b'$%d\r\n%s\r\n' % (len(word), word) for word in words)
        self.socket.sendall(request)
        return self.reply()

    def reply(self):
        line = self.file.readline()
        if not line.endswith(b'\r\n'):
            raise ServerError('the server has closed the connection')
        kind, rest = line[:1], line[1:-2]
        if kind == b'-':
            raise ServerError(escaped(decoded(rest)))
        if kind == b'+':
            return rest
        length = int(rest)
        if kind == b':':
            return length
        if length < 0:
            return None
        if kind == b'*':
            return [self.reply() for _ in range(length)]
        data = self.file.read(length + 2)
        if len(data) < length + 2:
            raise ServerError('the server has closed the connection')
        return data[:-2]


def entries(reply):
    """(id, [(field, value) …]) of each entry."""
    return [(entry_id, list(zip(flat[::2], flat[1::2]))) for entry_id, flat in reply or ()]


def watch(options, show):
    server = Server(options)
    streams = [os.fsencode(stream) for stream in options.streams]
    after, first = {}, []
    for stream in streams:
        # One is asked for even if none is wanted, to know what comes after it.
        last = entries(server.call('XREVRANGE', stream, '+', '-', 'COUNT', max(options.last, 1)))
        after[stream] = last[0][0] if last else b'0-0'
        if not last and sys.stderr.isatty():
            shown = escaped(decoded(stream))
            print('watch: nothing in "%s"%s' % (shown, '' if options.no_follow else ' yet; waiting'), file=sys.stderr)
        first += [(entry_id, stream, pairs) for entry_id, pairs in last[: options.last]]
    for entry_id, stream, pairs in sorted(first, key=lambda entry: tuple(map(int, entry[0].split(b'-')))):
        show(stream, entry_id, pairs)
    while not options.no_follow:
        reply = server.call('XREAD', 'COUNT', 100, 'BLOCK', 0, 'STREAMS', *after, *after.values())
        for stream, found in reply or ():
            for entry_id, pairs in entries(found):
                after[stream] = entry_id
                show(stream, entry_id, pairs)


def main():
    parser = argparse.ArgumentParser(add_help=False, usage=__doc__, allow_abbrev=False)
    parser.add_argument('streams', nargs='+')
    parser.add_argument('-h', default='127.0.0.1')
    parser.add_argument('-p', type=int, default=6379)
    parser.add_argument('-s')
    parser.add_argument('-n', type=int, default=0)
    parser.add_argument('--user')
    parser.add_argument('--tls', action='store_true')
    parser.add_argument('--cacert')
    parser.add_argument('--last', type=int, default=10)
    parser.add_argument('--no-follow', action='store_true')
    parser.add_argument('--full', action='store_true')
    parser.add_argument('--color', choices=['always', 'never', 'auto'], default='auto')
    # A terminal that does not know a letter gets its number.
    sys.stdout.reconfigure(errors='backslashreplace', line_buffering=True)
    if '--help' in sys.argv[1:]:
        print(__doc__.strip())
        return 0
    options = parser.parse_args()

    on_terminal = sys.stdout.isatty() and os.environ.get('TERM') != 'dumb' and not os.environ.get('NO_COLOR')
    color = on_terminal if options.color == 'auto' else options.color == 'always'
    writer = Writer(color, options.full, len(options.streams) > 1)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        watch(options, lambda *entry: print(writer.line(*entry)))
    except KeyboardInterrupt:
        return 0
    except BrokenPipeError:  # `watch.py … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ServerError, OSError) as error:
        print('watch: %s' % escaped(str(error)), file=sys.stderr)
        return 1
    return 0


sys.exit(main())
