#!/usr/bin/env bash
# Plays the story of examples/shop: story.sh [cluster] node|python|go…
# With several languages the processes take turns among them. What is printed must be what examples/shop/expected.txt says.
set -euo pipefail
. "$(dirname "$0")/server.sh"

cluster=
[ "${1:-}" != cluster ] || { cluster=1; shift; }
[ $# -gt 0 ] || die "usage: story.sh [cluster] node|python|go…"
languages=("$@")
examples=$root/examples
. "$root/scripts/languages.sh"

program_node() {
    mkdir -p "$target/shop"
    cp "$examples"/shop/{shop.js,package.json,tsconfig.json} "$target/shop"
    ln -sfn ../node/node_modules "$target/shop/node_modules"
    "$target/node/node_modules/.bin/tsc" -p "$target/shop"
    node_program=(node "$target/shop/shop.js")
}
program_python() { python_program=("${python[@]}" "$examples/shop/shop.py"); }
program_go() {
    go_build "$examples/shop"
    go_program=("$target/go/shop")
}

# The program of the next language, in `program`.
turn=-1
next_program() {
    turn=$(((turn + 1) % ${#languages[@]}))
    declare -n chosen=${languages[turn]}_program
    program=("${chosen[@]}")
}
shop() {
    next_program
    echo "\$ shop $*"
    "${program[@]}" "$@"
}
# background name command…: its process is running[name], and it prints to name.out.
declare -A running=()
background() {
    next_program
    "${program[@]}" "${@:2}" >"$folder/$1.out" 2>>"$folder/remarks" &
    running[$1]=$!
}
# Waits for a writer.
ended() {
    wait "${running[$1]}" || die "$1 ended with $?"
    unset "running[$1]"
    cat "$folder/$1.out"
}
# Ends workers and the projection.
end() {
    local name
    for name in "$@"; do
        patiently grep -qx ready "$folder/$name.out"
        kill -TERM "${running[$name]}"
    done
    for name in "$@"; do
        wait "${running[$name]}" || die "$name ended with $?"
        unset "running[$name]"
    done
}
dies() {
    kill -KILL "${running[$1]}"
    wait "${running[$1]}" 2>/dev/null || true
}

finish() {
    local code=$? process
    for process in "${running[@]}"; do
        kill -KILL "$process" 2>/dev/null && wait "$process" 2>/dev/null || true
    done
    if [ $code -ne 0 ]; then
        echo "story: the story in ${languages[*]}${cluster:+ on a cluster} ended early, or told something else; so far:"
        cat "$folder/told" 2>/dev/null || true
        tail -n 20 "$folder/remarks" 2>/dev/null || true
    fi >&8
    [ -z "$cluster" ] || "$root/scripts/cluster.sh" stop "$folder/cluster"
    stop
}
exec 8>&2
trap finish EXIT

# Any node of the cluster, or the server.
at() { redis-cli ${cluster:+-c} -p "$port" "$@" 2>>"$folder/remarks"; }
# The key of a partition.
partitions() {
    local n
    for n in $(seq 0 $((${PARTITIONS:-1} - 1))); do
        echo "$1${PARTITIONS:+{$n\}}"
    done
}
patiently() {
    local _
    for _ in {1..300}; do
        ! "$@" || return 0
        sleep 0.1
    done
    die "waited for nothing: $*"
}
# Whether the workers and the projection have nothing left to do; `parked N`: but N parked keys.
idle() {
    local parked=${1:-0} stream
    for stream in $(partitions shop-changes); do
        at DIRTY.STATS "$stream"
    done | awk -v parked="$parked" '
        previous == "lag" || previous == "held" || previous == "due" { left += $0 }
        previous == "parked-keys" { found += $0 }
        previous == "pending" { pending += $0 }
        { previous = $0 }
        END { exit !(left == 0 && found == parked && (parked || pending == 0)) }'
}

# Another worker in the place of one that is killed.
worker_dies() {
    local name=worker-$((RANDOM % 3))
    patiently grep -qx ready "$folder/$name.out"
    dies "$name"
    background "$name" work
}
server_dies() {
    if [ -z "$cluster" ]; then
        kill -KILL "$server"
        wait "$server" 2>/dev/null || true
        server=
        sleep 0.3
        launch || die 'the server did not come back'
    else
        local slot pid
        slot=$(at CLUSTER KEYSLOT "shop-changes{0}")
        pid=$("$root/scripts/cluster.sh" nodes "$folder/cluster" | awk -v slot="$slot" '
            $3 == "primary" { for (i = 4; i <= NF; i++) { split($i, ends, "-"); if (slot >= ends[1] && slot <= ends[2]) print $2 } }')
        kill -KILL "$pid"
        # The replica takes over before it comes back.
        sleep 4
        "$root/scripts/cluster.sh" start "$folder/cluster" >/dev/null
    fi
}

# In the cluster, partition 1 goes to another node, key by key: what has left is answered with ASK, and what needs keys of both
# nodes with TRYAGAIN.
slot_moves() {
    [ -n "$cluster" ] || return 0
    local slot from to key node
    slot=$(at CLUSTER KEYSLOT "shop-changes{1}")
    "$root/scripts/cluster.sh" nodes "$folder/cluster" | awk '$3 == "primary"' >"$folder/primaries"
    from=$(awk -v slot="$slot" '{ for (i = 4; i <= NF; i++) { split($i, ends, "-"); if (slot >= ends[1] && slot <= ends[2]) print $1 } }' \
        "$folder/primaries")
    to=$(awk -v from="$from" '$1 != from { print $1; exit }' "$folder/primaries")
    declare -A id
    for node in "$from" "$to"; do id[$node]=$(redis-cli -p "$node" CLUSTER MYID); done
    redis-cli -p "$to" CLUSTER SETSLOT "$slot" IMPORTING "${id[$from]}"
    redis-cli -p "$from" CLUSTER SETSLOT "$slot" MIGRATING "${id[$to]}"
    while key=$(redis-cli -p "$from" CLUSTER GETKEYSINSLOT "$slot" 1) && [ -n "$key" ]; do
        redis-cli -p "$from" MIGRATE 127.0.0.1 "$to" "$key" 0 5000
        sleep 0.01
    done
    for node in "$to" $(awk -v to="$to" '$1 != to { print $1 }' "$folder/primaries"); do
        redis-cli -p "$node" CLUSTER SETSLOT "$slot" NODE "${id[$to]}"
    done
    for node in "$from" "$to"; do redis-cli -p "$node" INFO errorstats; done | grep -E '^errorstat_(ASK|TRYAGAIN)' ||
        die 'nobody noticed that a slot was moved'
}

# writes FIRST LAST command…: the three writers, and meanwhile the commands.
writes() {
    local k
    for k in 0 1 2; do background "writer-$k" write "$k" "$1" "$2"; done
    "${@:3}"
    for k in 0 1 2; do ended "writer-$k"; done
}
chaos() {
    local round
    for round in 1 2 3 4 5; do
        sleep 0.3
        [ $round -ne 2 ] || server_dies 2>>"$folder/remarks"
        [ $round -ne 4 ] || { dies projection; background projection project; }
        worker_dies
    done
}
# The copy is thrown away, and made again while writers write.
again() {
    end projection
    rm "$SHOP/directory.json"
    shop rebuild
    background projection project
    worker_dies
    slot_moves >>"$folder/remarks"
    worker_dies
}
by_hand() {
    echo '$ # by hand a customer is deleted, an order is changed, and one is made'
    at DEL "$(key_of customer Bo-2)" >>"$folder/remarks"
    at HSET "$(key_of order "$changed")" amount 0.01 >>"$folder/remarks"
    at DIRTY.FLUSH "$(key_of order)" SEED 7777 1 version 1 >>"$folder/remarks"
}
# The key of an entity, or of the declaration that can have order 7777.
key_of() {
    local partition
    partition=$(python3 -c 'import binascii, sys; print(binascii.crc_hqx(sys.argv[1].encode(), 0) % int(sys.argv[2]))' \
        "${2:-7777}" "${PARTITIONS:-1}")
    echo "$1${PARTITIONS:+{$partition\}}${2:+:$2}"
}

story() {
    local n stream
    shop declare
    shop declare # again changes nothing
    background projection project
    for n in 0 1 2; do background "worker-$n" work; done
    echo '$ # three writers write; workers, the projection and the server die'
    writes 0 150 chaos
    echo '$ # three writers write; the projection is thrown away'
    writes 150 300 again
    patiently idle 1
    shop dead
    touch "$SHOP/mended"
    shop redrive
    patiently idle
    shop dead
    by_hand
    shop repair
    writes 300 330 true
    patiently idle
    end projection worker-{0,1,2}
    shop state | grep '^{' >"$folder/state"
    for stream in $(partitions shop-changes); do
        at DIRTY.READ "$stream" FROM 0 COUNT 100000 JSON | grep '^{'
    done >"$folder/stream"
    echo '$ check.py'
    python3 "$examples/shop/check.py" "$SHOP" "$folder/state" "$folder/stream" ${cluster:+cluster}
}

export SHOP=$folder/shop
mkdir "$SHOP"
for language in "${languages[@]}"; do
    "prepare_$language" >>"$folder/remarks" 2>&1
    "program_$language" >>"$folder/remarks" 2>&1
done
if [ -n "$cluster" ]; then
    export PARTITIONS=4
    "$root/scripts/cluster.sh" start "$folder/cluster" >"$folder/nodes"
    port=$(awk 'NR == 1 { print $1 }' "$folder/nodes")
    REDIS_CLUSTER=$(awk '{ printf "%s127.0.0.1:%s", sep, $1; sep = " " }' "$folder/nodes")
    export REDIS_CLUSTER
else
    server_options=(--appendonly yes --appendfsync always)
    start
    export REDIS_URL=redis://127.0.0.1:$port
fi
changed=4
story >"$folder/told" 2>>"$folder/remarks"
expected=$examples/shop/expected.txt
[ -z "${UPDATE:-}" ] || [ -n "$cluster" ] || cp "$folder/told" "$expected"
# Nobody knows how much has to be repaired after a failover.
uncounted() { sed -E "${cluster:+s/^(customer|order): [0-9]+ repaired, [0-9]+ deleted$/\\1: repaired/}" "$1"; }
diff -u --label shop/expected.txt --label 'this run' <(uncounted "$expected") <(uncounted "$folder/told") >&2
echo "story: the shop in ${languages[*]}${cluster:+ on a cluster} has lost nothing: $(grep -h 'in the ledger' "$folder/remarks")."
