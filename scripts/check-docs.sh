#!/usr/bin/env bash
# Are README.md and docs/ true? Each line of a page's redis-cli sessions is typed again, in a server of the
# page's own, and must print what the page shows. Ids contain times, so only their seqs are compared. Then the
# lists of commands, errors, INFO fields, settings and make targets must be the module's, and links must lead
# somewhere.
#
#     scripts/check-docs.sh [--write] [page …]
#
# Pages that are named are looked at alone; --write puts the replies of this server into them.
set -euo pipefail
. "$(dirname "$0")/server.sh"

prompt='127.0.0.1:6379> '

write=
if [ "${1-}" = --write ]; then
    write=1
    shift
fi
all_pages() { (cd "$root" && echo README.md && find docs -name '*.md' | sort); }
pages=("$@")
[ $# -gt 0 ] || mapfile -t pages < <(all_pages)

# Times and memory do not count: those in ids, positions and events (of FORMAT FLAT, too), the ages that DIRTY.DEFERRED
# tells (the second of each flush's four elements), the times and bytes that DIRTY.STATS, DIRTY.PENDING and dead events tell,
# and how long redis-cli says that a command took; nor does space at an end.
timeless() {
    sed -E -e 's/\<[0-9]{13}-([0-9]+)/ms-\1/g; s#(\<(ms|0)-[0-9]+/)[0-9]{13}\>#\1ms#g' \
        -e 's/("(ts_|first-|last-)ms\\?":)[0-9]{13}\>/\1ms/g; s/"[0-9]{13}"/"ms"/g' \
        -e 's/"[0-9]{4}(-[0-9]{2}){2}T[0-9:]{8}(\.[0-9]+)?Z"/"time"/' \
        -e 's/("(bytes|(idle|due|first|last|oldest-event|oldest-unread)-ms)" => \(integer\) )[0-9]+/\1some/' \
        -e "/^${prompt}DIRTY\.DEFERRED /,/^${prompt}/s/^( +2\) \(integer\) )[0-9]+\$/\1age/" \
        -e '/^\([0-9.]+s\)$/d; s/[[:space:]]+$//' "$1"
}

# The command with the ids that this server gave to the same events of the stream, its second word (of DIRTY.FLUSH … ACK the
# word behind that), and in positions with the epoch that it gave to the cursor, the fourth.
translated() {
    local words word id epoch scan stream
    read -ra words <<<"$1"
    stream=${words[1]-}
    if [[ $1 == 'DIRTY.FLUSH '*' ACK '* ]]; then
        stream=${1#* ACK }
        stream=${stream%% *}
    fi
    for word in "${!words[@]}"; do
        [[ ${words[word]} =~ ^[0-9]{13}-([0-9]+)(/([0-9]+)(/.*)?)?$ ]] || continue
        epoch=${BASH_REMATCH[3]} scan=${BASH_REMATCH[4]}
        id=$(cli XRANGE "$stream" - + | grep -axE -m 1 "[0-9]{13}-${BASH_REMATCH[1]}" || true)
        id=${id:-${words[word]%%/*}}
        [ ${#epoch} -ne 13 ] || epoch=$(cli DIRTY.STATS "${words[1]}" | awk -v cursor="${words[3]}" -v epoch="$epoch" '
            before == "name" { name = $0 }
            before == "position" && name == cursor { split($0, parts, "/"); epoch = parts[2] }
            { before = $0 }
            END { print epoch }')
        words[word]=$id${epoch:+/$epoch}$scan
    done
    echo "${words[*]}"
}

# The reply to a line, as somebody at a terminal sees it. A line with ids is typed with those of this server.
typed() { timeout 20 redis-cli --no-raw -p "$port" "${options[@]}" <<<"$1" 2>&1 || true; }

# What a line of a shell prints that begins with redis-cli and goes on behind its options.
shell() (
    redis-cli() { command redis-cli -p "$port" "$@"; }
    eval "$1" 2>&1 || true
)

waiting() { info dirty dirty_consumers_blocked; }

# A page as it would be with the replies of this server, in pieces: the next one is $piece.
next_piece() {
    pieces=$((pieces + 1))
    piece=$(printf '%s/%04d' "$folder/pieces" $pieces)
}
retype() {
    local line block=() inside='' readers=() options=() pieces=0 piece command before
    mkdir "$folder/pieces"
    next_piece
    while IFS= read -r line; do
        if [[ $line == '```'* && -z $inside ]]; then
            inside=1 block=("$line")
        elif [[ -z $inside ]]; then
            echo "$line" >>"$piece"
        elif [[ $line != '```' ]]; then
            block+=("$line")
        else
            inside=
            retype_block
            echo "$line" >>"$piece"
        fi
    done <"$1"
    for reader in "${readers[@]}"; do wait "$reader"; done
    cat "$folder"/pieces/*
    rm -r "$folder/pieces"
}
retype_block() {
    local line
    case $'\n'"$(printf '%s\n' "${block[@]}")" in
        *$'\n'"$prompt"* | *$'\n$ redis-cli'*) ;;
        *) printf '%s\n' "${block[@]}" >>"$piece"; return ;;
    esac
    echo "${block[0]}" >>"$piece"
    for line in "${block[@]:1}"; do
        if [[ $line =~ ^'$ redis-cli'( --?[a-z0-9]+)*$ ]]; then
            echo "$line" >>"$piece"
            read -ra options <<<"${line#\$ redis-cli}"
            continue
        fi
        case $line in "$prompt"* | '$ redis-cli'*) ;; *) continue ;; esac
        typed_lines=$((typed_lines + 1))
        if [[ $line == '$ '* ]]; then
            echo "$line" >>"$piece"
            shell "${line#\$ }" >>"$piece"
            continue
        fi
        command=$(translated "${line#"$prompt"}")
        if [[ -n $write ]]; then echo "$prompt$command" >>"$piece"; else echo "$line" >>"$piece"; fi
        if [[ $command == *' BLOCK '* ]]; then # its reply comes when a later line wakes it
            before=$(waiting)
            typed "$command" >>"$piece" &
            readers+=($!)
            while [ "$(waiting)" -eq "$before" ] && kill -0 $! 2>/dev/null; do sleep 0.02; done
            next_piece
        else
            typed "$command" >>"$piece"
        fi
    done
}

# What a terminal shows when a page's ```sh block is pasted there must be the ```text block behind it.
pasted() {
    grep -q '^```text$' "$root/$1" || return 0
    start
    mkdir -p "$folder/bin"
    printf '#!/bin/sh\nexec %s -p %s "$@"\n' "$(command -v redis-cli)" "$port" >"$folder/bin/redis-cli"
    chmod +x "$folder/bin/redis-cli"
    awk -v paste="$folder/paste" -v shown="$folder/shown" '
        /^```/ { if (inside && text == "sh") last = block; if (inside && text == "text") { printf "%s", last >paste; printf "%s", block >shown }
                 inside = !inside; text = substr($0, 4); block = ""; next }
        inside { block = block $0 "\n" }' "$root/$1"
    PATH="$folder/bin:$PATH" script -qec "bash $folder/paste" /dev/null </dev/null | tr -d '\r' >"$folder/printed"
    kill "$server"
    wait "$server" || true
    server=
    diff -u --label "$1" --label 'this server' <(timeless "$folder/shown") <(timeless "$folder/printed") >&2
}

# The bytes that a page explains in its ```hex blocks, before two spaces and what they mean, must be those that the
# dump (od) before the block shows.
explained() {
    awk -v page="$1" '
        function bytes(line) { sub(/^ /, "", line); sub(/  .*/, "", line); gsub(/ /, "", line); return line }
        /^```hex$/ { hex = 1; said = ""; next }
        /^```/ && hex {
            hex = 0
            if (said == "" || said != dump) {
                print page ": the bytes explained are not those of the event:\n" said "\n" dump
                bad = 1
            }
        }
        /^\$ redis-cli/ { dump = "" }
        hex { said = said bytes($0); next }
        /^( [0-9a-f][0-9a-f])+$/ { dump = dump bytes($0) }
        END { exit bad }' "$root/$1" >&2
}

typed_lines=0 wrong=0
for page in "${pages[@]}"; do
    if grep -q -e "^$prompt" -e '^\$ redis-cli' "$root/$page"; then
        start
        retype "$root/$page" >"$folder/page"
        if [[ -n $write ]]; then
            sed 's/ *$//' "$folder/page" >"$root/$page"
        elif ! diff -u --label "$page" --label 'this server' <(timeless "$root/$page") <(timeless "$folder/page") >&2; then
            wrong=1
        fi
        kill "$server"
        wait "$server" || true
        server=
    fi
    pasted "$page" || wrong=1
    explained "$page" || wrong=1
done
[ $wrong -eq 0 ] || die 'a page shows other replies than the server gives'
if [ $# -gt 0 ]; then
    echo "Of these pages $typed_lines lines were typed."
    exit
fi
[ $typed_lines -gt 100 ] || die "only $typed_lines lines to type in README.md and docs"

# lists what page pattern: the names on stdin must be those that the pattern finds in the page.
lists() {
    diff -u --label "$1 in $2" --label "$1 of the module" \
        <(grep -ohP "$3" "$root/$2" | sort -u) <(sort -u) >&2 || die "$2 lists other $1 than there are"
}
start
# Not the internal one.
cli COMMAND LIST FILTERBY MODULE dirty | grep -v _ | tr '[:lower:]' '[:upper:]' >"$folder/commands"
lists commands docs/cheat-sheet.md '^\[\KDIRTY\.[A-Z]+(?=\]\(commands/)' <"$folder/commands"
diff -u --label docs/cheat-sheet.md --label scripts/cheat-sheet.sh "$root/docs/cheat-sheet.md" <("$root/scripts/cheat-sheet.sh") >&2 ||
    die 'docs/cheat-sheet.md is not what scripts/cheat-sheet.sh makes of docs/commands'
while read -r command; do
    lists "command $command" "docs/commands/${command,,}.md" '^# \K.*' <<<"$command"
done <"$folder/commands"
[ "$(wc -l <"$folder/commands")" -eq "$(find "$root/docs/commands" -name 'dirty.*.md' | wc -l)" ] ||
    die 'docs/commands has a page of a command that is not there'
while read -r command; do
    cli COMMAND INFO "$command" | awk -v command="$command" 'NR < 3 { next } /^-?[0-9]+$/ { exit } $0 != "module" { flags = flags ", " $0 }
        END { print command ": " substr(flags, 3) }'
done <"$folder/commands" >"$folder/flags"
diff -u --label 'flags in docs/commands/README.md' --label 'flags of the module' \
    <(awk -F ' *[|] *' '/^\| DIRTY\./ { n = split($2, names, ", "); for (i = 1; i <= n; i++) print names[i] ": " $3 }' \
        "$root/docs/commands/README.md" | sort) <(sort "$folder/flags") >&2 || die 'docs/commands/README.md lists other flags'
cli INFO dirty | grep -oP '^dirty_\w+' >"$folder/fields"
lists 'INFO fields' docs/operating.md '\bdirty_[a-z_]+' <"$folder/fields"
cli CONFIG GET 'dirty.*' | grep -oP '^dirty\..*' | lists settings docs/limits.md '^\| `\Kdirty\.[a-z-]+'
grep -oP '"\K[A-Z]{3,}(?= )' "$root/core/src/error.rs" | lists 'error codes' docs/errors.md '^\| \*\*\K[A-Z]+'
make -s -C "$root" help | grep -oP '^make [\w-]+' | lists 'make targets' docs/development.md '^\| `\Kmake [\w-]+'
# Elsewhere nobody speaks of what is not there, but for a command of builds for tests, the client for Python with its marks,
# and the metrics of its exporter.
echo DIRTY.PANIC >>"$folder/commands"
printf '%s\n' dirty_streams dirty_meta >>"$folder/fields"
grep -oP '"\Kdirty_[a-z_]+(?=")' "$root/clients/python/src/dirty_streams/cli/_metrics.py" >>"$folder/fields"
for names in "$folder/commands:DIRTY\.[A-Z]+" "$folder/fields:(?<![\w/-])dirty_[a-z_]+"; do
    unknown=$(cd "$root" && all_pages | xargs grep -noP "${names#*:}" | awk -F: 'NR == FNR { known[$0]; next } !($3 in known)' \
        "${names%%:*}" -)
    [ -z "$unknown" ] || die "the module does not know:"$'\n'"$unknown"
done

"$root/scripts/check-links.pl" "$root" || die 'a link leads nowhere'

echo "README.md and docs/ are true: $typed_lines lines of ${#pages[@]} pages were typed, and the replies are as shown."
