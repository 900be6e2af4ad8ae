#!/usr/bin/env bash
# Prints docs/cheat-sheet.md: the syntax of every command, as the command's own page in docs/commands has it.
set -euo pipefail
cd "$(dirname "$0")/../docs"

cat <<'END'
# All commands on one page

The syntax is written as on redis.io: `[optional]`, `this|or that`, `…` for more of the same. Times are in ms, sizes in bytes.
Each name links to the command's page. See also [what the commands have in common](commands/README.md). This page is
generated from the commands' pages by `scripts/cheat-sheet.sh`.
END

# group title command …
group() {
    printf '\n## %s\n' "$1"
    shift
    local command
    for command; do
        printf '\n[DIRTY.%s](commands/dirty.%s.md)\n\n' "${command^^}" "$command"
        awk 'NR > 2 && /^[^ ]/ { exit } NR > 2' "commands/dirty.$command.md" | sed -e :a -e '/^\n*$/{$d;N;ba' -e '}'
    done
}

group 'Declare and write' declare info flush commit abort deferred
group 'Read events' reader consume read ack hold fail leave
group 'Operate readers' stats pending redrive discard pause seek forget
group 'Read entities' get
