#!/usr/bin/env bash
# Is README.md true? Each line of its redis-cli sessions is typed again, in a server of its own, and must
# print what README.md shows. Ids contain times, so only their seqs are compared. Then its lists of commands,
# errors, INFO fields and make targets must be the module's.
set -euo pipefail
. "$(dirname "$0")/server.sh"

readme=$root/README.md
prompt='127.0.0.1:6379> '

# The fenced blocks with a prompt in them, one below the other.
sessions() {
    awk -v prompt="$prompt" '
        /^```/ { if (inside && index(block, prompt)) printf "%s", block; inside = !inside; block = ""; next }
        inside { block = block $0 "\n" }' "$readme"
}

# Times do not count: those in ids and in events, the ages that DIRTY.DEFERRED tells (the second of each flush's
# three elements), and how long redis-cli says that a command took; nor does space at an end.
timeless() {
    sed -E -e 's/\<[0-9]{13}-([0-9]+)/ms-\1/g; s/("ts_ms\\":)[0-9]{13}\>/\1ms/g' \
        -e "/^${prompt}DIRTY\.DEFERRED /,/^${prompt}/s/^( +2\) \(integer\) )[0-9]+\$/\1age/" \
        -e '/^\([0-9.]+s\)$/d; s/[[:space:]]+$//'
}

# The command with the ids that this server gave to the same events of the stream, its second word.
translated() {
    local words word id
    read -ra words <<<"$1"
    for word in "${!words[@]}"; do
        [[ ${words[word]} =~ ^[0-9]{13}-([0-9]+)$ ]] || continue
        id=$(cli XRANGE "${words[1]}" - + | grep -axE -m 1 "[0-9]{13}-${BASH_REMATCH[1]}" || true)
        words[word]=${id:-${words[word]}}
    done
    echo "${words[*]}"
}

# The reply to a line, as somebody at a terminal sees it.
typed() { timeout 20 redis-cli --no-raw -p "$port" "${options[@]}" <<<"$1" 2>&1 || true; }

waiting() { info dirty dirty_consumers_blocked; }

start
sessions >"$folder/readme"
count=0 options=() readers=()
while IFS= read -r line; do
    case $line in "$prompt"* | '$ redis-cli'*) ;; *) continue ;; esac
    count=$((count + 1))
    replies=$(printf '%s/replies-%04d' "$folder" $count)
    echo "$line" >"$replies"
    if [[ $line != "$prompt"* ]]; then
        read -ra options <<<"${line#\$ redis-cli}"
        continue
    fi
    command=$(translated "${line#"$prompt"}")
    if [[ $command == *' BLOCK '* ]]; then # its reply comes when a later line wakes it
        before=$(waiting)
        typed "$command" >>"$replies" &
        readers+=($!)
        while [ "$(waiting)" -eq "$before" ] && kill -0 $! 2>/dev/null; do sleep 0.02; done
    else
        typed "$command" >>"$replies"
    fi
done <"$folder/readme"
for reader in "${readers[@]}"; do wait "$reader"; done
[ $count -gt 20 ] || die "only $count lines to type in $readme"

diff -u --label README.md --label 'this server' <(timeless <"$folder/readme") <(cat "$folder"/replies-* | timeless) >&2 ||
    die 'README.md shows other replies than the server gives'

# lists what pattern: the names on stdin must be those that the pattern finds in README.md.
lists() {
    diff -u --label "$1 in README.md" --label "$1 of the module" <(grep -oP "$2" "$readme" | sort -u) <(sort -u) >&2 ||
        die "README.md lists other $1 than there are"
}
cli COMMAND LIST FILTERBY MODULE dirty | tr '[:lower:]' '[:upper:]' | lists commands '^### \KDIRTY\.[A-Z]+'
cli INFO dirty | grep -oP '^dirty_\w+' | lists 'INFO fields' '\bdirty_[a-z_]+'
grep -oP '"\K[A-Z]{3,}(?= )' "$root/src/error.rs" | lists 'error codes' '^\| \*\*\K[A-Z]+'
make -s -C "$root" help | grep -oP '^make [\w-]+' | lists 'make targets' '^\| `\Kmake [\w-]+'

echo "README.md is true: $count lines were typed, and the replies are as it shows them."
