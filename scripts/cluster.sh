#!/usr/bin/env bash
# A Redis Cluster with the module on this machine's loopback: three primaries, each with a replica.
#
#   cluster.sh start folder [port]   on six ports from this one on, or anywhere free; data stays in the folder
#   cluster.sh nodes folder          who is who: port, process id, role, slots
#   cluster.sh stop folder           ends its servers, by process id
#   cluster.sh run folder [port]     start, until Ctrl-C
#
# A folder that holds a cluster is started on its own ports again. CLUSTER_TIMEOUT is the time in ms after which
# a node that is silent counts as failed (2000 when left out).
set -euo pipefail
export LC_ALL=C
unset REDISCLI_AUTH

die() { echo "cluster: $*" >&2; exit 1; }

[ $# -ge 2 ] || die "usage: cluster.sh start|nodes|stop|run folder [port]"
what=$1 folder=$2 first=${3:-}
root=$(cd "$(dirname "$0")/.." && pwd)
module=${DIRTY_MODULE:-${CARGO_TARGET_DIR:-$root/target}/release/libdirty_streams.so}

# The ports of the cluster in the folder.
ports() { (cd "$folder" 2>/dev/null && find . -mindepth 2 -maxdepth 2 -name nodes.conf | tr -dc '0-9\n' | sort -n); }

info() { redis-cli -p "$1" INFO "$2" 2>/dev/null | tr -d '\r' | sed -n "s/^$3://p"; }

# The server of a port, if it runs and is ours.
process() {
    local pid
    pid=$(cat "$folder/$1/pid" 2>/dev/null) || return 1
    [ "$(readlink "/proc/$pid/cwd")" = "$(realpath "$folder/$1")" ] && echo "$pid"
}

start_node() {
    local port=$1 pid
    mkdir -p "$folder/$port"
    (
        cd "$folder/$port"
        # In a session of its own: Ctrl-C is for this script.
        setsid "${REDIS_SERVER:-redis-server}" --port "$port" --bind 127.0.0.1 --dir . --appendonly yes \
            --cluster-enabled yes --cluster-node-timeout "${CLUSTER_TIMEOUT:-2000}" \
            --repl-diskless-sync-delay 0 --loadmodule "$module" </dev/null >>log 2>&1 &
        echo $! >pid
    )
    pid=$(<"$folder/$port/pid")
    while kill -0 "$pid" 2>/dev/null; do
        # Somebody else's server may answer here while ours has not got the port.
        [ "$(info "$port" server process_id)" != "$pid" ] || return 0
        sleep 0.05
    done
    return 1
}

# Every node knows every other, and all slots are served.
agree() {
    local port
    for port in "$@"; do
        [ "$(redis-cli -p "$port" CLUSTER INFO | tr -d '\r' | sed -n 's/^cluster_state://p')" = ok ] || return 1
        [ "$(redis-cli -p "$port" CLUSTER NODES | grep -c -e ' connected')" -eq $# ] || return 1
        [ "$(redis-cli -p "$port" CLUSTER NODES | grep -c -e ' slave\|,slave')" -eq 3 ] || return 1
    done
    for port in "$@"; do
        [ "$(info "$port" replication role)" = master ] ||
            [ "$(info "$port" replication master_link_status)" = up ] || return 1
    done
}

start() {
    local port all=() nodes=()
    [ -e "$module" ] || die "no module at $module; build it first: make build"
    mkdir -p "$folder"
    mapfile -t all < <(ports)
    if [ ${#all[@]} -gt 0 ]; then
        for port in "${all[@]}"; do
            process "$port" >/dev/null || start_node "$port" || die "no server on port $port: see $folder/$port/log"
        done
    else
        for _ in {1..20}; do
            # Nodes talk to each other on their ports + 10000, which stays below those that clients get.
            port=${first:-$((20000 + RANDOM % 450 * 6))}
            mapfile -t all < <(seq "$port" $((port + 5)))
            taken=
            for port in "${all[@]}"; do
                start_node "$port" || { taken=$port; break; }
            done
            [ -n "$taken" ] || break
            stop
            [ -z "$first" ] || die "no server on port $taken: $(tail -n 1 "$folder/$taken/log")"
            rm -rf "${folder:?}"/[0-9]*
        done
        [ -z "$taken" ] || die "no six free ports"
        nodes=("${all[@]/#/127.0.0.1:}")
        redis-cli --cluster create "${nodes[@]}" --cluster-replicas 1 --cluster-yes >"$folder/created" ||
            { cat "$folder/created" >&2; die "the cluster was not made"; }
    fi
    for _ in {1..300}; do
        agree "${all[@]}" && return
        sleep 0.1
    done
    die "the nodes do not agree; see $folder/*/log"
}

nodes() {
    local port pid
    for port in $(ports); do
        if pid=$(process "$port"); then
            redis-cli -p "$port" CLUSTER NODES | awk -v port="$port" -v pid="$pid" '
                /myself/ {
                    slots = ""
                    for (i = 9; i <= NF; i++) slots = slots " " $i
                    print port, pid, /slave/ ? "replica" : "primary" slots
                }'
        else
            echo "$port - down"
        fi
    done
}

stop() {
    local folders port pid pids=()
    for folders in "$folder"/[0-9]*/; do
        port=$(basename "$folders")
        if pid=$(process "$port"); then
            kill "$pid" 2>/dev/null || true
            pids+=("$pid")
        fi
    done
    for pid in "${pids[@]}"; do
        for _ in {1..100}; do
            kill -0 "$pid" 2>/dev/null || continue 2
            sleep 0.05
        done
        kill -9 "$pid" 2>/dev/null || true
    done
}

case $what in
    start) start; nodes ;;
    nodes) nodes ;;
    stop) stop ;;
    run)
        trap stop EXIT
        start
        nodes
        port=$(ports | head -n 1)
        echo "The cluster runs, Ctrl-C ends it. Now type: redis-cli -c -p $port DIRTY.DECLARE 'user{7}' STREAM 'user-changes{7}'"
        trap exit INT TERM
        while :; do sleep 3600 & wait $!; done
        ;;
    *) die "no such action: $what" ;;
esac
