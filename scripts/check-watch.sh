#!/usr/bin/env bash
# Does watch.py show what happens, and nothing that a terminal would obey? Against a server of its own.
set -euo pipefail
# shellcheck source=scripts/server.sh
. "$(dirname "$0")/server.sh"
# Vienna's time by its rule, which needs no file of tzdata; and the shell that `script` starts, which is not the user's.
export PYTHONDONTWRITEBYTECODE=1 TZ=CET-1CEST,M3.5.0,M10.5.0/3 SHELL=/bin/sh
unset NO_COLOR
command -v python3 >/dev/null || die 'python3 is missing: apt-get install python3'

# A terminal in Debian speaks UTF-8; this script itself compares bytes.
watch() { LC_ALL=C.UTF-8 "$root/scripts/watch.py" -p "$port" "$@"; }
# shows what: the lines on stdin are those that come before the stream's events with the time cut off.
shows() { diff -u --label "$1, expected" --label "$1, shown" "$folder/expected" <(sed -E 's/^[-0-9]{10} [0-9:.]{12}  //') >&2 || die "$1: not as expected"; }
expect() { cat >"$folder/expected"; }

start
flush() { cli -e DIRTY.FLUSH "$@" >/dev/null; }
cli -e DIRTY.DECLARE user TYPES 3 age int vip bool score float STREAM changes STREAM full PAYLOAD FULL STREAM images PAYLOAD IMAGES \
    STREAM cdc FORMAT DEBEZIUM STREAM flat FORMAT FLAT >/dev/null
cli -e DIRTY.DECLARE tag TYPES 1 n int STREAM v2 FORMAT FLUXAORM2 STREAM v1 FORMAT FLUXAORM1 >/dev/null

# Each format and payload; the fields in the order in which the event has them.
flush user META 1 actor 'Jane Doe' SNAPSHOT 42 4 age 31 name Zoë score 1.5 vip true
flush user UPDATE 42 2 age 32 vip false NULL 1 score
flush user TOUCH 42
flush user DELETE 42
expect <<'END'
insert  user:42  (actor="Jane Doe")
update  user:42  age: 31 → 32  vip: true → false  score: 1.5 → null
update  user:42
delete  user:42
END
watch changes --no-follow | shows 'PAYLOAD CHANGES'
expect <<'END'
insert  user:42  age: null → 31  name: null → "Zoë"  score: null → 1.5  vip: null → true  (actor="Jane Doe")
update  user:42  age: 31 → 32  vip: true → false  score: 1.5 → null
update  user:42
delete  user:42  age: 32 → null  name: "Zoë" → null  vip: false → null
END
watch full --no-follow | shows 'PAYLOAD FULL'
# Images are compared here, so fields are in the order of their names, and a TOUCH is known.
sed -i -e '2s/\(  vip.*\)\(  score.*\)/\2\1/' -e '3s/update/touch /' "$folder/expected"
watch images --no-follow | shows 'PAYLOAD IMAGES'
watch cdc --no-follow | shows 'FORMAT DEBEZIUM'
expect <<'END'
insert  user:42  age: null → "31"  name: null → "Zoë"  score: null → "1.5"  vip: null → "1"  actor: null → "Jane Doe"
update  user:42  age: → "32"  name: → "Zoë"  vip: → "0"
update  user:42  age: → "32"  name: → "Zoë"  vip: → "0"
delete  user:42
END
watch flat --no-follow | shows 'FORMAT FLAT'
# A delete has META alone. Other writers' operations have more behind the word; one of another kind, or no time, is no event.
cli -e DIRTY.DECLARE other NAME user STREAM flat FORMAT FLAT >/dev/null
flush other META 1 actor me INSERT 43 0 DELETE 43
cli -e XADD flat '*' operation thing.update_group_and_profile id t1 occurred_at 2026-01-02T03:04:05.000000001Z group_id g1 >/dev/null
cli -e XADD flat '*' operation thing.moved id t1 occurred_at 2026-01-02T03:04:05Z >/dev/null
cli -e XADD flat '*' operation thing.create id t1 occurred_at yesterday >/dev/null
expect <<'END'
delete  user:43  (actor="me")
update  thing:t1  group_id: → "g1"
entry   operation: "thing.moved"  id: "t1"  occurred_at: "2026-01-02T03:04:05Z"
entry   operation: "thing.create"  id: "t1"  occurred_at: "yesterday"
END
watch flat --last 4 --no-follow | shows 'FORMAT FLAT of others'
flush tag INSERT 7 2 n 1 name red UPDATE 7 1 name blue NULL 1 n DELETE 7
expect <<'END'
insert  tag:7
update  tag:7  name: "red" → "blue"  n: 1 → null
delete  tag:7
END
watch v2 --no-follow | shows 'FORMAT FLUXAORM2'
expect <<'END'
insert  tag:7  n: null → 1  name: null → "red"
update  tag:7  name: → "blue"  n: → null
delete  tag:7  name: "blue" → null
END
watch v1 --no-follow | shows 'FORMAT FLUXAORM1'

# A dead stream tells why its events are there. Those fields alone are no event.
cli -e DIRTY.READER v2 GROUP workers FROM 0 >/dev/null
cli -e DIRTY.CONSUME v2 GROUP workers $'w\e' COUNT 2 >/dev/null
cli -e DIRTY.FAIL v2 GROUP workers $'w\e' $'no\e[31m' FATAL "$(cli --csv XRANGE v2 - + COUNT 2 | cut -d '"' -f 8)" >/dev/null
dead=(dead-id 1-1 dead-stream s dead-reader r dead-consumer c dead-error e dead-deliveries 1 dead-failures 0 dead-first 2 dead-last 3)
cli -e XADD v2:dead '*' "${dead[@]}" >/dev/null
cli -e XADD v2:dead '*' a b "${dead[@]}" >/dev/null
expect <<'END'
update  tag:7  name: "red" → "blue"  n: 1 → null  (dead: reader=workers, consumer="w\x1b", deliveries=1, error="no\x1b[31m")
entry   dead-id: "1-1"  dead-stream: "s"  dead-reader: "r"  dead-consumer: "c"  dead-error: "e"  dead-deliveries: "1"  dead-failures: "0"  dead-first: "2"  dead-last: "3"
entry   a: "b"  (dead: reader=r, consumer=c, deliveries=1, error="e")
END
watch v2:dead --no-follow | shows 'a dead stream'

# Where to begin; several streams, in the order of time; the time.
expect <<'END'
delete  tag:7
END
watch v2 --last 1 --no-follow | shows '--last 1'
expect <<'END'
changes  delete  user:42
v2  delete  tag:7
END
watch changes v2 --last 1 --no-follow | shows 'two streams'
expect </dev/null
watch v2 --last 0 --no-follow | shows '--last 0'
watch nothing --no-follow | shows 'no stream'
cli -e XADD old 1000000000123-1 a b >/dev/null
[ "$(watch old --no-follow)" = '2001-09-09 03:46:40.123  entry   a: "b"' ] || die "the time: $(watch old --no-follow)"

# What is long is cut.
long=$(printf '%0100d' 0) pairs=()
for i in {1..25}; do pairs+=("field$i" "$i"); done
flush user INSERT "$long" 0 UPDATE "$long" 1 name "$long" DELETE "$long" INSERT many 0 UPDATE many 25 "${pairs[@]}"
watch changes --last 4 --no-follow >"$folder/out"
grep -qE "update  user:\"0{60}\"… \(\+40\)  name: null → \"0{60}\"… \(\+40\)$" "$folder/out" || die "a long value: $(cat "$folder/out")"
grep -qE 'update  user:many .* field20: null → "20"  … \(\+5\)$' "$folder/out" || die "many fields: $(cat "$folder/out")"
watch changes --last 4 --no-follow --full | grep -qE "user:\"0{100}\"  name: null → \"0{100}\"$" || die '--full cuts'

# Nothing that anybody writes reaches the terminal as anything but text.
cli -e DIRTY.DECLARE $'evil\e]0;key\a' STREAM hostile >/dev/null
flush $'evil\e]0;key\a' META 1 $'\e[2J' $'\x9b31m' INSERT $'id\r\n\e[1A' 0 UPDATE $'id\r\n\e[1A' 4 $'f\x1b[31m' $'v\x1b[0m' \
    utf8 $'\xff\xfe\xc2\x9b31m' bidi $'a\xe2\x80\xaeb\xe2\x81\xa6' quote $'"\\x1b[31m" \t\x7f\x00'
expect <<'END'
insert  "evil\x1b]0;key\x07":"id\r\n\x1b[1A"  ("\x1b[2J"="\x9b31m")
update  "evil\x1b]0;key\x07":"id\r\n\x1b[1A"  "f\x1b[31m": null → "v\x1b[0m"  utf8: null → "\xff\xfe\u{9b}31m"  bidi: null → "a\u{202e}b\u{2066}"  quote: null → "\"\\x1b[31m\" \t\x7f"  ("\x1b[2J"="\x9b31m")
END
watch hostile --no-follow | shows 'hostile bytes'
if watch stream --no-follow -p 1 2>"$folder/err"; then die 'a server that is not there was read'; fi
grep -q '^watch: no server at 127.0.0.1:1: ' "$folder/err" || die "no server: $(cat "$folder/err")"

# Whoever mistypes a stream's name would look at an empty terminal for ever.
# The name comes by the environment: sh knows no $'\e'.
# shellcheck disable=SC2016
WATCH="$root/scripts/watch.py" PORT=$port NAME=$'no\ee such' \
    script -qec '"$WATCH" -p "$PORT" "$NAME" --no-follow' /dev/null </dev/null >"$folder/out"
grep -qF 'watch: nothing in "no\x1be such"' "$folder/out" || die "an empty stream: $(cat "$folder/out")"

# What has a list or map where an event has text is an entry.
cli -e XADD odd '*' key '{"id":1}' value '{"op":"c","before":null,"after":{},"source":{"table":{"a":1}}}' >/dev/null
watch odd --no-follow | grep -q '  entry   key: ' || die "a table that is an object: $(watch odd --no-follow)"

# Entries that are nearly events, and thousands that are random or broken events: each is a line of text.
cli -e DIRTY.FLUSH tag INSERT 8 1 name $'\e[31m' >/dev/null
python3 - "$port" "$folder" <<'END'
import json, random, socket, sys

port, seed = int(sys.argv[1]), random.randrange(1 << 32)
print('check-watch: seed', seed, file=open(sys.argv[2] + '/seed', 'w'))
random = random.Random(seed)
server = socket.create_connection(('127.0.0.1', port))
file = server.makefile('rb')

def send(*words):
    words = [word.encode() if isinstance(word, str) else word for word in words]
    server.sendall(b'*%d\r\n' % len(words) + b''.join(b'$%d\r\n%s\r\n' % (len(word), word) for word in words))
    line = file.readline()
    assert line[:1] in b'$:', line
    if line[:1] == b'$':
        file.read(int(line[1:]) + 2)

def true_event(stream):
    server.sendall(b'XREVRANGE %s + - COUNT 1\r\n' % stream)
    def reply():
        kind, *rest = (file.readline()[:-2],)
        length = int(kind[1:])
        return [reply() for _ in range(length)] if kind[:1] == b'*' else file.read(length + 2)[:-2]
    return reply()[0][1]

def mutated(data):
    data = bytearray(data)
    for _ in range(random.randrange(1, 4)):
        at = random.randrange(len(data) + 1)
        kind = random.randrange(3)
        if kind == 0: data[at:at] = random.randbytes(random.randrange(1, 4))
        elif kind == 1: del data[at : at + random.randrange(1, 4)]
        elif at < len(data): data[at] = random.randrange(256)
    return bytes(data)

deep = 100000
def event(**members):
    pack = lambda text: bytes([0xa0 + len(text)]) + text
    return bytes([0x80 + len(members)]) + b''.join(pack(key.encode()) + value for key, value in members.items())
fixed = [
    (b's', b'\x91' * deep), (b's', b''), (b's', b'\xdd\xff\xff\xff\xff'), (b's', b'\xc6\xff\xff\xff\xff'), (b's', b'\xc1'),
    (b's', event(et=b'\x91\xa1\x1b', id=b'\xc0', ft=b'\x01')), (b's', event(et=b'\xa1\x1b', id=b'\x80', ft=b'\x02', ch=b'\x91\x01')),
    (b's', event(et=b'\xa1a', id=b'\x01', ft=b'\x02', ch=b'\x81\xa1f\x82\xa1o\x82\xa1t\xa1i\xa1v\xa2\x1b[\xa1n\x81\xa1n\xc3')),
    (b's', event(et=b'\xa1a', id=b'\x01', ft=b'\x01', m=b'\x81\x91\x01\x80')), (b's', event(et=b'\xa1a', id=b'\x01', ft=b'\x09')),
    (b's', event(et=b'\xa1a', id=b'\x01', ft=b'\x01', m=b'\x05')), (b's', event(et=b'\xa1a', id=b'\x01', ft=b'\x02', a=b'\x05')), (b's', event(et=b'\xa1a', id=b'\x01', ft=b'\x80')),
    (b'key', b'{"id":1}', b'value', b'[' * deep), (b'key', b'[]', b'value', b'{}'), (b'key', b'{"id":' + b'9' * 10000 + b'}', b'value',
     json.dumps({'before': None, 'after': {'\x1b': '\ud800\x9b', 'b': [1, {'\x1b': None}]}, 'op': 'c', 'source': {'table': {'\x1b': 1}, 'meta': {'a': 5}}}).encode()),
    (b'key', b'{"id":"a"}', b'value', b'{"before":5,"after":"x","op":"u","source":{"table":"t"}}'),
    (b'key', b'{"id":"a"}', b'value', b'{"before":{"a":NaN},"after":{"a":1e999,"b":"\\u001b"},"op":"u","source":{"table":"t","meta":[]}}'),
    (b's', b'\x81\x01\x02', b'action', b'add', b'entity', b'\x1b', b'id', b'\x9b'), (b's', b'\x80', b's', b'\x80'), (b'', b''), (b'\x1b', b'\n'),
]
for fields in fixed:
    send('XADD', 'broken', '*', *fields)
sources = [true_event(stream) for stream in (b'hostile', b'full', b'images', b'cdc', b'flat', b'v1', b'v2', b'v2:dead')]
for _ in range(4000):
    fields = list(random.choice(sources))
    for at in random.sample(range(1, len(fields), 2), random.randrange(1, len(fields) // 2 + 1)):
        fields[at] = mutated(fields[at])
    send('XADD', 'broken', '*', *fields)
for _ in range(500):
    send('XADD', 'broken', '*', 's', random.randbytes(random.randrange(40)))
send('XADD', 'broken', '18446744073709551614-1', 'last', 'one')
END
watch broken --last 10000 --no-follow >"$folder/out" || die "stopped at an entry ($(cat "$folder/seed"))"
[ "$(wc -l <"$folder/out")" = "$(cli XLEN broken)" ] || die "not a line for each entry ($(cat "$folder/seed"))"
tail -n 1 "$folder/out" | grep -qF '18446744073709551614-1  entry   last: "one"' || die "an id that is no time: $(tail -n 1 "$folder/out")"
grep -q 'update  ' "$folder/out" || die 'no broken event was still an event'
# The judge of what is printable is another than the viewer's own: these are C0, DEL, C1, and all that is
# no UTF-8 or turns the direction.
unprintable() { LC_ALL=C.UTF-8 grep -anvP '^[^\x00-\x1f\x7f-\x9f\x{200e}\x{200f}\x{2028}-\x{202e}\x{2066}-\x{2069}]*$'; }
for bad in $'\e' $'\x9b' $'\xc2\x9b' $'\xe2\x80\xae' $'\r'; do
    unprintable <<<"a$bad" >/dev/null || die "this check would not find $(printf %q "$bad")"
done
if unprintable <"$folder/out" >&2; then die "control characters in the output ($(cat "$folder/seed"))"; fi

# Colours: on a terminal, unless NO_COLOR or TERM=dumb asks for none.
colours() { printf '%d\n' "$(tr -cd '\033' | wc -c)"; }
terminal() { script --quiet --return --command "LC_ALL=C.UTF-8 $* '$root/scripts/watch.py' -p $port v2 --last 1 --no-follow" /dev/null </dev/null; }
[ "$(watch v2 --no-follow | colours)" = 0 ] || die 'colours in a file'
[ "$(terminal env TERM=xterm | colours)" -gt 0 ] || die 'no colours on a terminal'
[ "$(terminal env TERM=xterm NO_COLOR=1 | colours)" = 0 ] || die 'colours in spite of NO_COLOR'
[ "$(terminal env TERM=dumb | colours)" = 0 ] || die 'colours on a dumb terminal'
[ "$(watch v2 --no-follow --last 1 --color=always | sed 's/^[^ ]* [^ ]*  //')" = $'\e[32minsert\e[0m  \e[1mtag:8\e[0m' ] || die 'other colours'
# A terminal of another character set gets no bytes that it cannot show.
for asked in --help "full --no-follow"; do
    # shellcheck disable=SC2086
    LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 "$root/scripts/watch.py" -p "$port" $asked
done >"$folder/ascii"
if grep -P '[^ -~]' "$folder/ascii" >&2; then die 'UTF-8 in an ASCII terminal'; fi

# Follows, shows what comes at once, and leaves nothing behind; Ctrl-C ends it well.
before=$(cli XLEN changes)
LC_ALL=C.UTF-8 "$root/scripts/watch.py" -p "$port" changes old --last 0 >"$folder/live" & # ends with the server, too
viewer=$!
blocked() { [ "$(info clients blocked_clients)" = 1 ]; }
shown() { [ "$(wc -l <"$folder/live")" -ge "$1" ]; }
until_() { for _ in {1..200}; do ! "$@" || return 0; sleep 0.05; done; die "waited in vain for: $*"; }
until_ blocked
flush user SNAPSHOT 50 1 age 1
until_ shown 1
flush user SNAPSHOT 50 1 age 2
cli -e XADD old '*' x y >/dev/null
until_ shown 3
expect <<'END'
changes  insert  user:50
changes  update  user:50  age: 1 → 2
old  entry   x: "y"
END
shows 'live events' <"$folder/live"
kill -TERM "$viewer"
wait "$viewer" || die 'does not end well'
[ "$(cli XINFO GROUPS changes)" = '' ] || die "left a group: $(cli XINFO GROUPS changes)"
[ "$(cli EXISTS changes:readers)" = 0 ] || die "left a reader: $(cli DIRTY.STATS changes)"
[ "$(cli XLEN changes)" = $((before + 2)) ] || die 'other entries than were flushed'

# Its rights are reading, of this stream alone.
cli -e ACL SETUSER viewer on '>secret' %R~changes +xrevrange +xread >/dev/null
REDISCLI_AUTH=secret watch changes --user viewer --last 1 --no-follow >/dev/null || die 'a viewer who may read cannot'
if REDISCLI_AUTH=secret watch full --user viewer --no-follow 2>"$folder/err"; then die 'a viewer reads what it may not'; fi
grep -q '^watch: NOPERM' "$folder/err" || die "no rights: $(cat "$folder/err")"

echo 'watch.py shows what happens, and nothing that a terminal would obey.'
