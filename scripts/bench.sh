#!/usr/bin/env bash
# How fast a flush and a read are, against what Redis has of its own: redis-benchmark, unpipelined and
# pipelined, medians of ROUNDS rounds. In each round all contestants take their turn, so that what
# disturbs the machine hits all alike. Shorter: ROUNDS=1 REQUESTS=10000.
set -euo pipefail
. "$(dirname "$0")/server.sh"

rounds=${ROUNDS:-5}
requests=${REQUESTS:-100000}       # unpipelined; pipelined ones are four times as many
entities=10000                     # that redis-benchmark's -r picks from
contestants=(xadd hset lua flush same)
# Measured pipelined only: what a flush can be given, and what it can make of it.
variants=(flush json msgpack stateless batch10 batch100 fluxaorm fluxaorm1 debezium images fields5 fields50 fields500)

is() { [ "$2" = "$3" ] || die "$1: found '$2', must be '$3'"; }

# Streams are bounded on all sides alike. Nine fields of an entity stay as they are, the tenth changes.
limit=(MAXLEN '~' 100000)
constant=(name Alice email alice@example.com status active country AT city Vienna
    plan premium language de created 2026-01-02 referrer newsletter)

# The constant fields in JSON, and in MessagePack, where a map of ten is \x8a and a text of n bytes \xa0 + n.
json=$(printf '"%s":"%s",' "${constant[@]}")
text() { printf "\\x$(printf %x $((160 + ${#1})))%s" "$1"; }
msgpack=$'\x8a'$(for word in "${constant[@]}"; do text "$word"; done)$(text logins)

# times n word…: the words n times.
times() { for ((i = 0; i < $1; i++)); do printf '%s\n' "${@:2}"; done; }
# many n: so many pairs but one of a field and a value.
many() { for ((i = 1; i < $1; i++)); do printf 'field%d\nvalue%d\n' $i $i; done; }
declare -A many
for n in 5 50 500; do many[$n]=$(many $n); done

# words contestant id value: puts its command into the array `command`.
words() {
    local pairs=("${constant[@]}" logins "$3")
    case $1 in
        json) command=(DIRTY.FLUSH user SNAPSHOT "$2" JSON "{$json\"logins\":\"$3\"}") ;;
        msgpack) command=(DIRTY.FLUSH user SNAPSHOT "$2" MSGPACK "$msgpack$(text "$3")") ;;
        stateless) command=(DIRTY.FLUSH stateless UPDATE "$2" 1 logins before "$3") ;;
        batch*) mapfile -t command < <(printf '%s\n' DIRTY.FLUSH user && times "${1#batch}" SNAPSHOT "$2" 10 "${pairs[@]}") ;;
        fields*) mapfile -t command < <(printf '%s\n' DIRTY.FLUSH "$1" SNAPSHOT "$2" "${1#fields}" logins "$3" "${many[${1#fields}]}") ;;
        # Their ids are numbers, which do not begin with a zero.
        fluxaorm*) command=(DIRTY.FLUSH "$1" SNAPSHOT "1$2" 10 "${pairs[@]}") ;;
        debezium | images) command=(DIRTY.FLUSH "$1" SNAPSHOT "$2" 10 "${pairs[@]}") ;;
        xadd) command=(XADD plain-changes "${limit[@]}" '*' s "$payload") ;;
        hset) command=(HSET "plain:$2" "${pairs[@]}") ;;
        lua) command=(FCALL snapshot 2 "lua:$2" lua-changes user "$2" "${pairs[@]}") ;;
        flush) command=(DIRTY.FLUSH user SNAPSHOT "$2" 10 "${pairs[@]}") ;;
        same) command=(DIRTY.FLUSH same SNAPSHOT "$2" 10 "${constant[@]}" logins 0) ;;
        seed) command=(DIRTY.FLUSH read SEED "$2" 10 "${pairs[@]}") ;;
        read) command=(DIRTY.FLUSH read SNAPSHOT "$2" 10 "${pairs[@]}") ;;
    esac
}

label() {
    case $1 in
        xadd) echo "XADD of an event ($payload_bytes bytes)" ;;
        hset) echo 'HSET of 10 fields' ;;
        lua) echo 'Lua function, 1 of 10 fields changed' ;;
        flush) echo 'DIRTY.FLUSH, 1 of 10 fields changed' ;;
        same) echo 'DIRTY.FLUSH, nothing changed' ;;
        json) echo 'JSON snapshot' ;;
        msgpack) echo 'MSGPACK snapshot' ;;
        stateless) echo 'STATELESS UPDATE of one field' ;;
        batch*) echo "${1#batch} entities in one command, each" ;;
        fluxaorm | fluxaorm1 | debezium) echo "FORMAT ${1^^}" ;;
        images) echo 'FORMAT MSGPACK, PAYLOAD IMAGES' ;;
        fields*) echo "${1#fields} fields" ;;
        native*) echo "XACK of ${1#native} + XREADGROUP COUNT ${1#native}" ;;
        consume*) echo "DIRTY.CONSUME GROUP, ACK ${1#consume}, COUNT ${1#consume}" ;;
    esac
}

# for_all contestant value: its command for every entity, with the ids that redis-benchmark makes.
for_all() {
    words "$1" '&' "$2"
    seq -f '%012.0f' 0 $((entities - 1)) | sed "s/.*/${command[*]}/"
}

# Commands, one a line, in the Redis protocol; and a file of these sent as fast as the server takes it.
protocol() { awk '{ printf "*%d\r\n", NF; for (i = 1; i <= NF; i++) printf "$%d\r\n%s\r\n", length($i), $i }'; }
send() { cli --pipe <"$1" >"$folder/pipe" 2>&1 || die "$(cat "$folder/pipe")"; }
fill() { for_all "$@" | protocol >"$folder/fill" && send "$folder/fill"; }

added() { cli XINFO STREAM "$1" | grep -A 1 '^entries-added$' | tail -n 1; }
cpu() { info cpu 'used_cpu_\(user\|sys\)' | awk '{ sum += $1 } END { print sum }'; }

# measure mode round contestant requests pipeline: one run of redis-benchmark, kept in $folder/results
# as: mode contestant requests/s, CPU µs of the server a request; of a batch for each of its entities.
measure() {
    local before rate each=1
    [[ $3 != batch* ]] || each=${3#batch}
    words "$3" __rand_int__ __rand_int__
    before=$(cpu)
    rate=$(redis-benchmark -p "$port" -c 50 -P "$5" -n $(($4 / each)) -r "$entities" --csv "${command[@]}" | tail -n 1 | awk -F '","' '{ print $(NF - 6) }') # the name may hold commas
    keep "$1" "$2" "$3" "$(awk "BEGIN { print $rate * $each }")" "$before" "$4"
}

# The first round, numbered 0, warms up and does not count.
keep() {
    [ "$2" -eq 0 ] || awk -v mode="$1" -v who="$3" -v rate="$4" -v from="$5" -v to="$(cpu)" -v n="$6" \
        'BEGIN { print mode, who, rate, (to - from) * 1e6 / n }' >>"$folder/results"
}

# median mode contestant column (3 the rate, 4 the CPU time)
median() {
    awk -v mode="$1" -v who="$2" -v column="$3" '$1 == mode && $2 == who { print $column }' "$folder/results" |
        sort -n | awk '{ v[NR] = $1 } END { print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'
}

start
cli -x FUNCTION LOAD <"$root/scripts/bench.lua" >/dev/null
for name in user same; do is "declaration of $name" "$(cli DIRTY.DECLARE "$name" STREAM "$name-changes" "${limit[@]}")" OK; done
# Several types share the snapshots of user, so that each writes the same in its own format.
declare_type() { is "declaration of $1" "$(cli DIRTY.DECLARE "$@" "${limit[@]}")" OK; }
declare_type stateless STATELESS STREAM stateless-changes
declare_type images PREFIX user: STREAM images-changes PAYLOAD IMAGES
declare_type debezium PREFIX user: STREAM debezium-changes FORMAT DEBEZIUM
declare_type fluxaorm STREAM fluxaorm-changes FORMAT FLUXAORM
declare_type fluxaorm1 PREFIX fluxaorm: STREAM fluxaorm1-changes FORMAT FLUXAORM1
for n in 5 50 500; do declare_type fields$n STREAM fields$n-changes; done
is 'declaration of read' "$(cli DIRTY.DECLARE read STREAM read-changes)" OK

# Each contestant shows once that it does its work, before anything is measured: an entity is made,
# changed, and found changed.
one=000000000001
check() { # contestant value reply
    words "$1" "$one" "$2"
    is "${command[*]}" "$(cli "${command[@]}")" "$3"
}
check hset 1 10
check hset 2 0
for who in lua flush; do
    check $who 1 insert
    check $who 2 update
    check $who 2 none
done
check same 0 insert
check same 0 none
for who in lua user; do
    is "snapshot of $who" "$(cli HGETALL "$who:$one" | paste - - | sort)" "$(cli HGETALL "plain:$one" | paste - - | sort)"
    is "length of $who-changes" "$(cli XLEN "$who-changes")" 2
    cli --csv DIRTY.CONSUME "$who-changes" CURSOR check | sed 's/"id","[0-9-]*"/"id"/g; s/"position",.*//' >"$folder/$who.events"
done
is "the Lua function's events" "$(cat "$folder/lua.events")" "$(cat "$folder/user.events")"
cli XGROUP DESTROY lua-changes check >/dev/null
cli XGROUP DESTROY user-changes check >/dev/null

# XADD gets as many bytes as the module's event of that update has.
payload_bytes=$(($(cli XREVRANGE user-changes + - COUNT 1 | tail -n +3 | wc -c) - 1))
payload=$(printf "%${payload_bytes}s" '' | tr ' ' x)
words xadd '' ''
cli "${command[@]}" | grep -qE '^[0-9]+-[0-9]+$' || die 'XADD gave no id'

# So do the variants.
check json 3 update
check msgpack 3 none
check stateless 1 update
check batch10 4 "$(echo update && times 9 none)"

# Every entity exists before it is measured, so that each flush is an update.
for who in hset lua flush same fluxaorm fields5 fields50 fields500; do fill $who 0; done

echo "Redis $(info server redis_version), $(nproc) cores ($(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)), load $(cut -d ' ' -f 1 /proc/loadavg)"
echo "median of $rounds rounds; $requests requests a round, pipelined $((requests * 4)); $entities entities; no persistence"

for ((round = 0; round <= rounds; round++)); do
    for who in "${contestants[@]}"; do
        case $who in lua) stream=lua-changes ;; same) stream=same-changes ;; *) stream=user-changes ;; esac
        before=$(added $stream)
        measure single "$round" "$who" "$requests" 1
        measure pipelined "$round" "$who" $((requests * 4)) 32
        grown=$(($(added $stream) - before))
        case $who in
            # A random value meets itself once in 10000 times; then nothing changes.
            lua | flush) [ $grown -gt $((requests * 5 * 99 / 100)) ] || die "$who: only $grown events" ;;
            same) is 'events of flushes that changed nothing' $grown 0 ;;
        esac
    done
done

for ((round = 0; round <= rounds; round++)); do
    for who in "${variants[@]}"; do
        case $who in fields50) n=$((requests / 2)) ;; fields500) n=$((requests / 10)) ;; *) n=$requests ;; esac
        measure variants "$round" "$who" "$n" 32
    done
done

# Reading: redis-benchmark cannot send back the ids it was given, so the ids are looked up before, and
# redis-cli --pipe sends the whole conversation and drops the replies as they come. Both groups read
# the same events, updates of one field, in batches of 100.
passes=$((requests * 2 / entities > 0 ? requests * 2 / entities : 1))
events=$((passes * entities))
fill seed 0
for ((pass = 1; pass <= passes; pass++)); do fill read $pass; done
cli --csv XRANGE read-changes - + | grep -oE '"[0-9]+-[0-9]+"' | tr -d '"' >"$folder/ids"
is 'events to read' "$(wc -l <"$folder/ids")" $events

sizes=(1 10 100 1000)
for n in "${sizes[@]}"; do
    xargs -n "$n" <"$folder/ids" | awk -v read="XREADGROUP GROUP native$n me COUNT $n STREAMS read-changes >" \
        -v ack="XACK read-changes native$n" 'NR == 1 { print read } { print ack " " $0; print read }' | protocol >"$folder/native$n"
    xargs -n "$n" <"$folder/ids" | awk -v read="DIRTY.CONSUME read-changes GROUP consume$n me" -v n="$n" \
        'NR == 1 { print read " COUNT " n } { print read " ACK " n " " $0 " COUNT " n }' | protocol >"$folder/consume$n"
done

is 'updates in one batch' "$(cli --csv DIRTY.CONSUME read-changes GROUP check me COUNT 100 | grep -o '"op","update"' | wc -l)" 100
for ((round = 0; round <= rounds; round++)); do
    for n in "${sizes[@]}"; do
        for who in native$n consume$n; do
            cli XGROUP CREATE read-changes $who 0 >/dev/null
            before=$(cpu) started=$EPOCHREALTIME
            send "$folder/$who"
            rate=$(awk -v n=$events -v from="$started" -v to="$EPOCHREALTIME" 'BEGIN { print n / (to - from) }')
            keep read $round $who "$rate" "$before" $events
            is "pending in $who" "$(cli XPENDING read-changes $who | head -n 1)" 0
            is "last read by $who" "$(cli XINFO GROUPS read-changes | grep -A 7 "^$who\$" | grep -A 1 last-delivered-id | tail -n 1)" \
                "$(tail -n 1 "$folder/ids")"
            cli XGROUP DESTROY read-changes $who >/dev/null
        done
    done
done
is 'errors that the server gave' "$(info stats total_error_replies)" 0

# ratio mode one other…: how often as fast one is as the others after one another.
ratio() {
    local mode=$1 one=$2 who sum=0
    shift 2
    for who in "$@"; do sum="$sum + 1 / $(median "$mode" "$who" 3)"; done
    awk "BEGIN { printf \"%.2f\", $(median "$mode" "$one" 3) * ($sum) }"
}
row() { printf '%-44s %12s %8s %14s %8s\n' "$@" | sed 's, *$,,'; }
numbers() { printf '%.0f %.2f' "$(median "$1" "$2" 3)" "$(median "$1" "$2" 4)"; }

echo
row '' '-c 50' 'CPU µs' '-c 50 -P 32' 'CPU µs'
for who in "${contestants[@]}"; do
    # shellcheck disable=SC2046 # two words each
    row "$(label "$who")" $(numbers single "$who") $(numbers pipelined "$who")
done
echo
for line in 'flush against the Lua function (goal 2.5)|flush lua' 'flush against HSET, then XADD|flush hset xadd' \
    'unchanged against HSET|same hset'; do
    read -ra who <<<"${line#*|}"
    row "${line%|*}" "$(ratio single "${who[@]}")" '' "$(ratio pipelined "${who[@]}")" ''
done
echo
row 'DIRTY.FLUSH, 1 of 10 fields changed, -P 32' 'entities/s' 'CPU µs' 'ratio' ''
for who in "${variants[@]}"; do
    # shellcheck disable=SC2046
    row "$(label "$who")" $(numbers variants "$who") "$(ratio variants "$who" flush)" ''
done
echo
row "reading $events events" 'events/s' 'CPU µs' '' ''
for n in "${sizes[@]}"; do
    for who in native$n consume$n; do
        # shellcheck disable=SC2046
        row "$(label $who)" $(numbers read $who) '' ''
    done
done
for n in "${sizes[@]}"; do
    row "CONSUME against XACK + XREADGROUP, $n each" "$(ratio read consume$n native$n)" '' '' ''
done
echo
(cd "$root" && cargo test -q --test integration waking_up_takes -- --ignored --nocapture 2>/dev/null | grep -E 'µs|XADD|FLUSH|ratio')
echo
echo "requests/s; CPU µs: the server process's time for one request (for one event when reading), which does"
echo "not depend on how fast redis-benchmark is. XREADGROUP gives MessagePack that its reader has yet to"
echo "decode, CONSUME old and new values. Reading is one connection, pipelined by redis-cli --pipe."
