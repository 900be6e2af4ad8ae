#!/usr/bin/env bash
# The main job on real input: this machine's package database goes through the module, as an
# application would send it, and readers get what changed. Nothing but redis-cli and a shell.
# Every number is checked; the script fails with the first that is not what it must be.
set -euo pipefail
. "$(dirname "$0")/server.sh"

columns=(Package Version Status Section Installed-Size Maintainer Description) # dpkg-query's names
fields=(name version status section size maintainer description)             # and ours, in that order

# is what found expected
is() { [ "$2" = "$3" ] || die "$1: found '$2', must be '$3'"; }

# line text count started ended [remark]: one line of the report.
line() {
    awk -v text="$1" -v count="$2" -v from="$3" -v to="$4" -v remark="${5:-}" \
        'BEGIN { printf "%-44s %6d %8.1f ms%s\n", text, count, (to - from) * 1000, remark ? "  " remark : "" }'
}

# The records on stdin as commands for redis-cli's stdin, one a line, which shows the reply of each
# (--pipe only counts them). An empty field is left out: it is null.
flushes() {
    awk -v names="${fields[*]}" '
        function quoted(text) { gsub(/["\\]/, "\\\\&", text); gsub(/\n/, "\\n", text); return "\"" text "\"" }
        BEGIN { RS = "\036"; FS = "\037"; split(names, name, " ") }
        {
            count = 0; pairs = ""
            for (i = 2; i <= NF; i++) if ($i != "") { count++; pairs = pairs " " name[i - 1] " " quoted($i) }
            print "DIRTY.FLUSH package SNAPSHOT " quoted($1) " " count pairs
        }'
}

# flush text effects: sends the commands on stdin and checks the effects, such as "5 insert 1 none".
flush() {
    local started=$EPOCHREALTIME ended effects
    cli >"$folder/replies"
    ended=$EPOCHREALTIME
    line "$1" "$(wc -l <"$folder/replies")" "$started" "$ended" "$(streams)"
    effects=$(sort "$folder/replies" | uniq -c | tr -s ' \n' ' ' | sed 's/^ //; s/ $//')
    is "effects of: $1" "$effects" "$2"
}

streams() { echo "package-changes $(cli XLEN package-changes), package-upgrades $(cli XLEN package-upgrades)"; }

# values key: what stands behind this key in the reply on stdin, one a line. The reply is redis-cli's
# CSV: no text can be taken for a key, because quotes within a text are escaped.
values() { (grep -oE "\"$1\",(\"([^\"\\\\]|\\\\.)*\"|[0-9]+)" || true) | sed "s/^\"$1\",//; s/^\"//; s/\"$//"; }

# Read the database. Fields are parted by the byte 0x1F and records end with 0x1E, which occur in none.
format="\${binary:Package}"
for column in "${columns[@]}"; do format+=$'\037'"\${$column}"; done
dpkg-query -W -f "$format"$'\036' >"$folder/packages"
total=$(dpkg-query -W -f '.\n' | wc -l)
is 'records with eight fields' "$(awk 'BEGIN { RS = "\036"; FS = "\037" } NF == 8 { n++ } END { print n }' "$folder/packages")" "$total"
[ "$total" -gt 6 ] || die "only $total packages are installed here; the demo changes six and removes another"

# What will change: five packages get a new version, the sixth another maintainer.
awk 'BEGIN { RS = ORS = "\036"; FS = OFS = "\037" }
     NR <= 5 { $3 = $3 "+demo1" } NR == 6 { $7 = "Zoë \"Z\" Ölund <zoe@example.com>" } NR <= 6' \
    "$folder/packages" >"$folder/changed"
removed=$(awk 'BEGIN { RS = "\036"; FS = "\037" } { id = $1 } END { print id }' "$folder/packages")

start
echo "$total packages of this machine, $(wc -c <"$folder/packages") bytes; a server of its own on port $port"
echo
printf '%-44s %6s %11s  %s\n' step count took 'events in the streams afterwards'

# The one stream wants every change, the other only updates of two fields.
started=$EPOCHREALTIME
declare_package=(DIRTY.DECLARE package TYPES 1 size int
    STREAM package-changes STREAM package-upgrades OPS NONE FIELDS 2 version status)
is 'the declaration' "$(cli "${declare_package[@]}")" OK
line 'declare the entity type' 1 "$started" "$EPOCHREALTIME"

flushes <"$folder/packages" | flush 'flush every package' "$total insert"
is streams "$(streams)" "package-changes $total, package-upgrades 0"

# Every field of every snapshot, line breaks and all, must be what dpkg-query itself prints.
started=$EPOCHREALTIME
dpkg-query -W -f "$(printf "\${%s}\n" "${columns[@]}")\n" >"$folder/expected"
dpkg-query -W -f "HMGET package:\${binary:Package} ${fields[*]}\n" | cli >"$folder/stored"
cmp "$folder/expected" "$folder/stored" >&2 || die 'a stored snapshot is not what dpkg-query says'
line 'compare each snapshot with dpkg-query' "$total" "$started" "$EPOCHREALTIME" "$(wc -l <"$folder/stored") lines, byte for byte"
is 'fields that are not null' "$(dpkg-query -W -f "HLEN package:\${binary:Package}\n" | cli | awk '{ n += $1 } END { print n }')" \
    "$(awk 'BEGIN { RS = "\036"; FS = "\037" } { for (i = 2; i <= NF; i++) n += $i != "" } END { print n }' "$folder/packages")"

flushes <"$folder/packages" | flush 'flush every package again' "$total none"
is streams "$(streams)" "package-changes $total, package-upgrades 0"

flushes <"$folder/changed" | flush 'five new versions, one new maintainer' '6 update'
is streams "$(streams)" "package-changes $((total + 6)), package-upgrades 5"

echo "DIRTY.FLUSH package DELETE $removed" | flush "remove $removed" '1 delete'
is streams "$(streams)" "package-changes $((total + 7)), package-upgrades 5"
is "snapshot of $removed" "$(cli EXISTS "package:$removed")" 0

# Readers are declared once; whoever reads only names them.
is 'the group' "$(cli DIRTY.READER package-changes GROUP mirror FROM 0)" OK
is 'the cursor' "$(cli DIRTY.READER package-upgrades CURSOR audit FROM 0)" OK

# A group: each call acknowledges the last batch and brings the next.
started=$EPOCHREALTIME
calls=0 ack=()
while :; do
    cli --csv DIRTY.CONSUME package-changes GROUP mirror worker-1 "${ack[@]}" COUNT 100 >"$folder/batch"
    calls=$((calls + 1))
    cat "$folder/batch" >>"$folder/read"
    mapfile -t ids < <(values id <"$folder/batch")
    [ ${#ids[@]} -gt 0 ] || break
    ack=(ACK ${#ids[@]} "${ids[@]}")
done
count=$(values id <"$folder/read" | wc -l)
line 'read package-changes as a group' "$count" "$started" "$EPOCHREALTIME" "$calls calls, each acknowledges the last and reads 100"
is 'operations the group read' "$(values op <"$folder/read" | sort | uniq -c | tr -s ' \n' ' ')" " 1 delete $total insert 6 update "
is 'entities the group read' "$(values entity-id <"$folder/read" | sort -u | wc -l)" "$total"
is 'missed by the group' "$(values missed <"$folder/read" | sort -u)" 0
is 'ids that the group did not hold' "$(values not-held <"$folder/read")" ''
is 'still pending in the group' "$(cli DIRTY.PENDING package-changes GROUP mirror)" ''
values id <"$folder/read" | sed 's/.*-//' | cmp - <(seq "$((total + 7))") >&2 || die 'the events are not numbered without a gap'

# A cursor: reading does not move it, acknowledging its position does.
started=$EPOCHREALTIME
read_upgrades() { cli --csv DIRTY.CONSUME package-upgrades CURSOR audit; }
read_upgrades >"$folder/upgrades"
line 'read package-upgrades with a cursor' "$(values id <"$folder/upgrades" | wc -l)" "$started" "$EPOCHREALTIME"
is 'events of a cursor that has not moved' "$(read_upgrades)" "$(cat "$folder/upgrades")"
position=$(values position <"$folder/upgrades")
is 'the position' "${position%/*}" "$(values id <"$folder/upgrades" | tail -n 1)"
is 'acknowledging it' "$(cli DIRTY.ACK package-upgrades CURSOR audit "$position")" 1
is 'events after the acknowledged position' "$(read_upgrades | values id | wc -l)" 0

echo
grep -oE '"version","[^"]*","[^"]*"' "$folder/upgrades" | awk -F '"' '{ print $4, "->", $6 }' |
    paste -d ' ' <(values entity-id <"$folder/upgrades") - >"$folder/found"
awk 'BEGIN { RS = "\036"; FS = "\037" } NR <= 5 { print $1, $3, "->", $3 "+demo1" }' "$folder/packages" |
    cmp - "$folder/found" >&2 || die 'the cursor read other changes than were made'
sed 's/^/  upgraded: /' "$folder/found"
echo
echo 'All numbers are what they must be.'
