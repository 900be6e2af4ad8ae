#!/usr/bin/env bash
# Plays the story of one of examples/ against a server of its own: test-clients.sh python|node|rust
# What it prints must be what its expected.txt says, but for the times in ids; UPDATE=1 writes that file anew.
# Whatever the libraries need comes into target/clients, in the versions that the lock files name.
set -euo pipefail
. "$(dirname "$0")/server.sh"

unset FORCE_COLOR # Node obeys it also where there is no terminal
language=$1
examples=$root/examples/$language
target=${CARGO_TARGET_DIR:-$root/target}/clients/$language
case $language in
    python) smallest=smallest.py fence=python ;;
    node) smallest=smallest.js fence=js ;;
    rust) smallest=src/bin/smallest.rs fence=rust ;;
    *) die "there is no story in $language" ;;
esac
mkdir -p "$target"

# Processes that the story has in the background, by name; those that are left when it fails go with the server.
declare -A running=()
failure="the story in $language was not begun"
refused=0 # commands that the module is to refuse since the server has started
finish() {
    local code=$?
    # First the server, which may be stopped: those that wait for its reply do not end before.
    [ -z "$server" ] || kill -CONT "$server" 2>/dev/null || true
    for process in "${running[@]}"; do
        kill "$process" 2>/dev/null && kill -CONT "$process" && wait "$process" || true
    done
    if [ $code -ne 0 ]; then
        echo "test-clients: $failure:"
        cat "$folder"/*out "$folder/err" 2>/dev/null || true
    fi >&8
    stop
}
trap finish EXIT
exec 8>&2 # where the reader is, also while the story's own messages go to a file

# patiently condition…: waits until it holds, for 20 s at most.
patiently() {
    for _ in {1..400}; do
        ! "$@" || return 0
        sleep 0.05
    done
    die "waited in vain: $*"
}

# A line of the story as its reader would type it, and what comes of it.
run() {
    echo "\$ $*"
    "$@"
}
# The same of one that must die by SIGKILL.
dies() {
    local code=0
    echo "\$ $*"
    timeout 20 env "$@" || code=$?
    [ $code -eq 137 ] || die "ended with $code, not by SIGKILL: $*"
}

# background name command…: it goes on until `end name`; what it prints is shown then.
background() {
    # Without the end of the pipe that intake reads: it ends when nobody has that any more.
    "${@:2}" >"$folder/$1.out" 7>&- &
    running[$1]=$!
}
end() {
    kill -TERM "${running[$1]}"
    ended "$1"
    echo "\$ # $1 printed:"
    cat "$folder/$1.out"
}
# Waits for its end, which must be a success.
ended() {
    wait "${running[$1]}" || die "$1 ended with $?"
    unset "running[$1]"
}

# Whether a group has read its stream to the end and acknowledged everything.
drained() {
    local found
    found=$(cli DIRTY.STATS "$1" | awk -v group="$2" '
        previous == "name" { ours = $0 == group }
        ours && (previous == "lag" || previous == "pending") { print $0 }
        { previous = $0 }' | xargs)
    [ "$found" = '0 0' ]
}
waits() { [ "$(info dirty dirty_consumers_blocked)" -ge 1 ]; }
consumer_waits() {
    cli DIRTY.STATS user-changes | awk -v name="$1" '
        previous == "name" { ours = $0 == name }
        ours && previous == "waiting" { found = $0 }
        { previous = $0 }
        END { exit !found }'
}
# Whether its last line begins so.
printed() { [[ $(tail -n 1 "$folder/$1.out") == "$2"* ]]; }

# In the story's lines it names no port.
redis-cli() { command redis-cli -p "$port" "$@"; }

# What dead events carry besides their own bytes, without the times.
dead() {
    echo "\$ # in the dead stream:"
    cli --csv XRANGE "$1:dead" - + | grep -oE '"dead-(reader|consumer|error|deliveries)","([^"\\]|\\.)*"'
}

# The deploy step.
deploy() {
    echo '$ redis-cli -e < readers.redis'
    cli -e <"$examples/readers.redis"
}

# The worker of the group mailer is there before anything happens, loses its connection while it waits, and
# goes on; the poisoned event comes last, so that its deliveries stand at a known place.
worker_starts() {
    deploy
    deploy # again changes nothing
    background worker "${worker[@]}" mailer-1
    patiently waits
    [ "$(cli CLIENT KILL TYPE normal SKIPME yes)" -ge 1 ] || die 'the worker has no connection to lose'
    patiently waits
}
worker_ends() {
    patiently drained user-changes mailer
    end worker
    dead user-changes
}

held() { cli DIRTY.PENDING user-changes GROUP mailer | grep -qx held; }
# Mails that take their time. The worker dies in the middle of one, and is started again under its name: long before
# CLAIM's minute is over it sends that one. Then a release whose CLAIM is shorter than such a mail takes: a worker that
# waits gets nothing of what the other one works on, for that one says HOLD, until it is stopped; then its mail is sent
# once all the same. The deploy step of the old release changes nothing any more. The argument is the first user's id.
slow_mails() {
    echo
    "saves_$language" "$1" Gil gil@slow.example
    patiently held
    echo '$ # worker is killed'
    kill -KILL "${running[worker]}"
    wait "${running[worker]}" || true
    cat "$folder/worker.out"
    background worker "${worker[@]}" mailer-1
    patiently drained user-changes mailer
    run redis-cli DIRTY.READER user-changes GROUP mailer ORDER ENTITY MAXDELIVERIES 3 CLAIM 1000 REVISION 2
    deploy
    "saves_$language" "$(($1 + 1))" Hana hana@slow.example
    patiently held
    background idle "${worker[@]}" mailer-2
    patiently consumer_waits mailer-2
    patiently drained user-changes mailer
    end idle
    "saves_$language" "$(($1 + 2))" Ivo ivo@slow.example
    patiently held
    echo '$ # worker is stopped'
    kill -STOP "${running[worker]}"
    background other "${worker[@]}" mailer-2
    patiently drained user-changes mailer
    end other
    echo '$ # worker goes on'
    kill -CONT "${running[worker]}"
    patiently consumer_waits mailer-1 # while Redis answers, so it has learnt that the mail is not its own any more
    echo
}

install_python() {
    [ -x "$target/bin/python" ] || python3 -m venv "$target"
    "$target/bin/python" -m pip install --quiet --disable-pip-version-check -r requirements.txt
    export PATH=$target/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 ACCOUNTS_DB=$folder/accounts.db
}
story_python() {
    run python accounts.py add 1 100
    dies DIE_AFTER=DIRTY.FLUSH python accounts.py add 1 1000000
    run python accounts.py recover 0
    dies DIE_BEFORE=DIRTY.COMMIT python accounts.py add 1 20
    run python accounts.py add 1 3
    dies DIE_AFTER=DIRTY.COMMIT python accounts.py close 1
    run python accounts.py recover 60000
    run python accounts.py add 1 7
    echo
    background plain_worker python plain_worker.py
    patiently drained account-changes auditor
    end plain_worker
    echo
    run python smallest.py
}

# Node looks for libraries beside the program, so that goes there.
install_node() {
    rm -f "$target"/*.[jt]s
    cp ./*.[jt]s ./*.json "$target"
    cd "$target"
    cmp -s package-lock.json installed.lock || {
        npm ci --cache "$target/cache" --prefer-offline --loglevel error --no-audit --no-fund
        cp package-lock.json installed.lock
    }
    export DIRECTORY=$folder/directory.json
    worker=(node mailer.js)
}
# The types, and what the story does not show.
checks_node() {
    node_modules/.bin/tsc
    VECTORS=$root/clients/partitions.json node --test test.js
    cli FLUSHALL
}
intake() { exec node intake.js <"$folder/input"; }
take() {
    echo "$1" >&7
    patiently printed intake "$2"
}
saves_node() {
    echo "\$ # $2 is taken"
    take "{\"id\": $1, \"name\": \"$2\", \"email\": \"$3\", \"version\": 1}" "  user $1: insert"
}
story_node() {
    worker_starts
    mkfifo "$folder/input"
    background intake intake
    exec 7>"$folder/input"
    take '{"id": 1, "name": "Alice", "email": "alice@example.com", "version": 1}' '  user 1: insert'
    take '{"id": 1, "name": "Alicia", "email": "alice@example.com", "version": 2}' '  user 1: update'
    take '{"id": 1, "name": "Al", "email": "alice@example.com", "version": 1}' '  user 1: stale'
    take '{"id": 9, "name": "Niemand"}' '  user 9 is dropped: BADVALUE'
    slow_mails 10

    # Redis hears, but the reply comes too late: the flush is sent again, and is not published twice.
    kill -STOP "$server"
    take '{"id": 2, "name": "Bob", "email": "bob@example.com", "version": 1}' '  Redis does not answer'
    kill -CONT "$server"
    patiently printed intake '  user 2: none'

    # Redis ends without having heard the first of three, which nobody can know; two more push out that one, and one
    # that was not sent. Who ends now waits until Redis is back.
    patiently drained user-changes mailer
    cli SAVE >/dev/null
    kill -STOP "$server"
    take '{"id": 4, "name": "Dora", "email": "dora@example.com", "version": 1}' '  Redis does not answer'
    kill -KILL "$server"
    wait "$server" || true
    server=
    take '{"id": 5, "name": "Emil", "email": "emil@example.com", "version": 1}' 'taken: Emil'
    take '{"id": 6, "name": "Fay", "email": "fay@example.com", "version": 1}' 'taken: Fay'
    take '{"id": 5, "name": "Emile", "email": "emil@example.com", "version": 2}' 'taken: Emile'
    take '{"id": 3, "name": "Mallory", "email": "nonsense", "version": 1}' 'taken: Mallory'
    exec 7>&-
    launch || die 'the server did not come back'
    ended intake
    echo '$ node intake.js'
    cat "$folder/intake.out"
    worker_ends
    run node directory.js
    run node directory.js
    echo
    background plain_worker node plain-worker.js
    patiently drained user-changes auditor
    end plain_worker
    echo
    run node smallest.js
    echo
    SERVER=$server node --input-type=module <<'END'
// Of two flushes one is sent, and Redis does not answer before the publisher ends; a buffer of one holds no more.
import { Publisher } from './publisher.js';

const told = (what, then) => ([, , id], why) => {
  console.log(`  user ${id} ${what}: ${why}`);
  then?.();
};
for (const limit of [1, 2]) {
  console.log(`$ # a publisher with a limit of ${limit}:`);
  const publisher = await new Promise((connected) => {
    const declaration = ['DIRTY.DECLARE', `away${limit}`, 'STREAM', `away${limit}-changes`];
    const publisher = new Publisher(process.env.REDIS_URL, declaration, {
      limit,
      replyTimeout: 20_000,
      onFlushed: told('flushed', () => connected(publisher)),
      onDropped: told('dropped'),
      onUnknown: told('unknown'),
    });
    publisher.flush(`away${limit}`, 'SNAPSHOT', 7, 1, 'name', 'Gus');
  });
  process.kill(process.env.SERVER, 'SIGSTOP');
  publisher.flush(`away${limit}`, 'SNAPSHOT', 8, 1, 'name', 'Hal');
  publisher.flush(`away${limit}`, 'SNAPSHOT', 9, 1, 'name', 'Ida');
  await publisher.close(100);
  process.kill(process.env.SERVER, 'SIGCONT');
}

console.log('$ # a publisher that gets flushes faster than Redis takes them:');
const ends = { flushed: 0, dropped: 0, unknown: 0 };
const publisher = new Publisher(process.env.REDIS_URL, ['DIRTY.DECLARE', 'fast', 'STREAM', 'fast-changes'], {
  limit: 5,
  onFlushed: () => ends.flushed++,
  onDropped: () => ends.dropped++,
  onUnknown: () => ends.unknown++,
});
for (let id = 0; id < 5000; id++) {
  publisher.flush('fast', 'SNAPSHOT', id, 0);
  if (id % 50 === 0) await new Promise(setImmediate);
}
await publisher.close();
console.log(`  unknown: ${ends.unknown}, told of all: ${ends.flushed + ends.dropped === 5000}`);
END
}

install_rust() {
    cargo build --quiet --locked --target-dir "$target"
    export PATH=$target/debug:$PATH USERS_DB=$folder/users.db MIRROR_DB=$folder/mirror.db
    worker=(worker)
}
saves_rust() { run signup save "$@"; }
story_rust() {
    worker_starts
    run signup save 1 Alice alice@example.com
    run signup save 2 Bob -
    run mirror
    run signup save 1 Alicia -
    run signup save 2 Bob bob@example.com
    echo
    run env REDIS_URL=redis://127.0.0.1:1 signup save 1 Alison alison@example.com
    run env REDIS_URL=redis://127.0.0.1:1 signup delete 2
    run signup reconcile
    run mirror
    slow_mails 4
    run signup save 3 Mallory nonsense
    worker_ends
    echo
    run smallest
}

# What docs/languages.md shows is the program that was run.
awk -v begin="\`\`\`$fence" -v end="\`\`\`" '$0 == end { shown = 0 } shown { print } $0 == begin { shown = 1 }' \
    "$root/docs/languages.md" >"$folder/shown"
diff -u --label docs/languages.md --label "$smallest" "$folder/shown" "$examples/$smallest" >&2

start
cd "$examples"
failure="the libraries of the story in $language cannot be had (no registry?), so nothing was tested"
"install_$language" >"$folder/err" 2>&1
export REDIS_URL=redis://127.0.0.1:$port
if [ "$language" = node ]; then
    failure="the examples in $language do not pass their own tests"
    checks_node >"$folder/err" 2>&1
fi
failure="the story in $language ended early, or told something else; so far"
"story_$language" >"$folder/out" 2>"$folder/err"

sed -E 's/\b[0-9]{13}-([0-9]+)/ms-\1/g' "$folder/out" >"$folder/told"
expected=$examples/expected.txt
[ -z "${UPDATE:-}" ] || cp "$folder/told" "$expected"
diff -u --label "$language/expected.txt" --label 'this run' "$expected" "$folder/told" >&2
errors=$(info dirty dirty_errors)
[ "$errors" = "$refused" ] || die "the module refused $errors commands: $(cli INFO errorstats)"
echo "test-clients: the story in $language is as it must be, $(wc -l <"$expected") lines."
