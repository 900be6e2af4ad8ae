#!/usr/bin/env bash
# Installs what `make package` made on a Debian 12 and a Debian 13 of their own, by the words of docs/install.md:
# test-package.sh packages folder [12|13…]. Needs root, for debootstrap and chroot, and says so where it is not.
#
# The Debian in folder/12/base is made once and kept. Each run works on a copy, in namespaces of its own for
# mounts, processes and the network: whatever happens, all that was started and mounted goes with them, and
# port 6379 is that of nobody else. No network is there, so nothing can be had that was not got before.
#
# Not tried here, because there is no systemd and no Docker: Debian's redis-server.service, of which only the
# rule where code may come from is imitated; and the images that Dockerfile names. Of the Dockerfile each line of the
# last stage is carried out by hand, on another copy of the Debian 12; the first, which builds, too if DOCKER_BUILD=1.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/sbin # where debootstrap and chroot are, which root's PATH may lack

skip() { echo "test-package: SKIPPED: $*; no package was installed" >&2; exit 0; }

packages=$(realpath -m "$1")
folder=$(realpath -m "$2")
shift 2
suite() { case $1 in 12) echo bookworm ;; 13) echo trixie ;; *) die "12 or 13, not '$1'" ;; esac; }

# Without `at`, for all releases.
if [ "${2:-}" != at ]; then
    die() { echo "test-package: $*" >&2; exit 1; }
    say() { echo "test-package: $*"; }
    [ $# -gt 0 ] || set -- 12 13
    for release in "$@"; do suite "$release" >/dev/null; done
    [ "$(id -u)" -eq 0 ] || skip 'it needs root (sudo make test-package), for debootstrap and chroot'
    compgen -G "$packages/*_$(dpkg --print-architecture).deb" >/dev/null || die "no packages in $packages; make them first: make package"
    unshare --mount --net --pid --fork --kill-child true 2>/dev/null || skip 'this machine gives no namespaces'

    missing=()
    for program in debootstrap lintian; do command -v $program >/dev/null || missing+=("$program"); done
    if [ ${#missing[@]} -gt 0 ]; then
        say "installing ${missing[*]}"
        { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
            "${missing[@]}"; } >/dev/null 2>&1 || skip "${missing[*]} cannot be had"
    fi
    mirror=$(scripts/mirror.sh) || skip 'apt knows no mirror of Debian'

    # One waits for the network and the disk while another works.
    runs=()
    for release in "$@"; do
        mkdir -p "$folder/$release"
        "$0" "$packages" "$folder" "$release" at host "$mirror" &
        runs+=($!)
    done
    say 'lintian'
    lintian --allow-root --fail-on error "$packages"/redis-dirty-streams_*.deb || die 'lintian finds errors'
    for run in "${runs[@]}"; do wait "$run" || die 'FAILED, see above'; done
    exit 0
fi

release=$1 step=$3
die() { echo "test-package: Debian $release: $*" >&2; exit 1; }
say() { echo "test-package: Debian $release: $*"; }
all=$folder
folder=$folder/$release
base=$folder/base
root=$folder/root

if [ "$step" = host ]; then
    if [ ! -e "$base/complete" ]; then
        say "making one in $base"
        rm -rf --one-file-system "$base"
        # What Redis needs, on whose coming with the package apt decides later, lies ready in its cache.
        # What it mounts goes with it, also if it is killed.
        { unshare --mount debootstrap --variant=minbase --include=iproute2 "$(suite "$release")" "$base" "$4" &&
            chroot "$base" apt-get -qq --yes --download-only install redis-server; } >"$folder/log" 2>&1 ||
            { tail -20 "$folder/log" >&2; skip "debootstrap failed, see $folder/log"; }
        touch "$base/complete"
    fi
    # The Debian of the Dockerfile.
    if [ -n "${DOCKER_BUILD:-}" ] && [ "$release" = 12 ]; then
        unshare --mount --pid --fork --kill-child "$0" "$packages" "$all" "$release" at build ||
            die 'FAILED: the stage of the Dockerfile that builds, see above'
    fi
    # Nothing is mounted in what an earlier run has left, because its namespaces are gone.
    rm -rf --one-file-system "$root" "$folder/image"
    cp -a "$base" "$root"
    unshare --mount --net --pid --fork --kill-child "$0" "$packages" "$all" "$release" at inside || die 'FAILED, see above'
    rm -rf --one-file-system "$root" "$folder/image" "$folder/build" "$folder/built.so"
    exit 0
fi

mount --make-rprivate /
prepare() {
    mount -t proc proc "$root/proc"
    for device in null zero full random urandom tty; do
        [ -e "$root/dev/$device" ] || touch "$root/dev/$device"
        mount --bind "/dev/$device" "$root/dev/$device"
    done
    mkdir -p "$root/dev/pts" "$root/root/work"
    mount -t devpts devpts "$root/dev/pts" -o newinstance,ptmxmode=666
    echo 'APT::Get::Assume-Yes "true";' >"$root/etc/apt/apt.conf.d/yes" # nobody answers
}
in_root() {
    chroot "$root" env -i PATH=/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
        DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 bash -euo pipefail -c "cd ~/work; $*" </dev/null
}
# stage n: the instructions of a stage of the Dockerfile, one a line; the first stage is 1.
stage() { sed -e '/^#/d' -e ':more; /\\$/{N; s/\\\n *//; b more}' Dockerfile | awk -v n="$1" '/^FROM/ { stage++ } stage == n'; }
# words instruction: the words of its JSON array, one a line.
words() { python3 -c 'import json, sys; print(*json.loads(sys.argv[1]), sep="\n")' "$1"; }

# carry_out n: does in $root what a stage says. Its COPY from another stage takes $built.
carry_out() {
    local word rest files
    workdir=/ user=root entrypoint=() health=''
    while read -r word rest; do
        case $word in
            RUN)
                say "${rest:0:100}"
                in_root "cd $workdir; export CARGO_HOME=/usr/local/cargo; $rest" >"$folder/log" 2>&1 || { tail -20 "$folder/log" >&2; die "$rest"; }
                ;;
            WORKDIR) workdir=$rest && mkdir -p "$root$rest" ;;
            COPY)
                read -ra files <<<"$rest"
                [ "${files[0]}" != --from=build ] || files=("$built" "${files[-1]}")
                [[ ${files[-1]} == /* ]] || files[-1]=$workdir/${files[-1]#.}
                mkdir -p "$(dirname "$root${files[-1]}x")"
                if [ -d "${files[0]}" ]; then cp -rT "${files[0]}" "$root${files[-1]}"; else cp "${files[@]::${#files[@]}-1}" "$root${files[-1]}"; fi
                ;;
            USER) user=$rest ;;
            HEALTHCHECK) health=${rest#*CMD } ;;
            ENTRYPOINT) mapfile -t entrypoint < <(words "$rest") ;;
            VOLUME | EXPOSE) [[ " /data 6379 " == *" $rest "* ]] || die "docs/install.md knows no $word $rest" ;;
            FROM | '') ;;
            *) die "the test knows no $word" ;;
        esac
    done < <(stage "$1")
}

if [ "$step" = build ]; then
    root=$folder/build
    say "the Dockerfile's first stage, with this machine's Rust, a network and no more than a Debian with gcc"
    rm -rf --one-file-system "$root"
    cp -a "$base" "$root"
    prepare
    cp /etc/resolv.conf "$root/etc"
    in_root 'apt-get -qq update; apt-get -qq install --no-install-recommends gcc libc6-dev ca-certificates' >"$folder/log" 2>&1 ||
        { tail "$folder/log" >&2; die 'there is no gcc'; }
    # The toolchain as the image has it; crates that are here already need not be fetched again.
    mkdir -p "$root"/usr/local/{rust,cargo/registry}
    mount --bind -o ro "$(rustc --print sysroot)" "$root/usr/local/rust"
    ln -s ../rust/bin "$root/usr/local/cargo/bin"
    cargo_home=${CARGO_HOME:-~/.cargo}
    [ ! -d "$cargo_home/registry" ] || cp -r "$cargo_home"/registry/{index,cache} "$root/usr/local/cargo/registry"
    carry_out 1
    cp "$root$(stage 2 | awk '$2 == "--from=build" { print $3 }')" "$folder/built.so"
    umount "$root/usr/local/rust"
    exit 0
fi

prepare
cp "$packages"/* "$root/root/work"
in_root ip link set lo up

up='timeout 20 bash -c "until redis-cli PING 2>/dev/null | grep -q PONG; do sleep 0.1; done"'
# block word: the commands of the page's block that holds the word, one a line.
block() {
    awk -v word="$1" '/^```/ { if (inside && index(text, word)) printf "%s", text; inside = $0 == "```sh"; text = ""; next }
        inside { text = text $0 "\n" }' docs/install.md | grep . || die "docs/install.md has no block with '$1'"
}
# types word: types the block, waits after each start of the service until Redis answers.
types() {
    local lines
    lines=$(block "$1") || exit 1
    in_root "set -v; $(awk -v up="$up" '{ print } /^service / { print up }' <<<"$lines")"
}
# logged command…: what it says is shown only if it fails.
logged() { "$@" >"$root/root/log" 2>&1 || { cat "$root/root/log" >&2; die "failed: $*"; }; }
is() { [ "$2" = "$3" ] || die "$1: found '$2', must be '$3'"; }
cli() { in_root "redis-cli $*"; }
# Those of the server's own file are not meant: Redis 8 has one, for vectors.
listed() { cli MODULE LIST | sed -n '/^name$/{n;p}' | grep -v '^vectorset$' | paste -sd ' '; }

# works key: the four commands that all is about, on a new declaration.
works() {
    is DIRTY.DECLARE "$(cli -e DIRTY.DECLARE "$1" STREAM "$1-changes")" OK
    is DIRTY.READER "$(cli -e DIRTY.READER "$1-changes" GROUP g FROM 0)" OK
    is DIRTY.FLUSH "$(cli -e DIRTY.FLUSH "$1" SNAPSHOT 1 1 name Alice)" insert
    is DIRTY.CONSUME "$(cli -e DIRTY.CONSUME "$1-changes" GROUP g c | grep -xE 'insert|update')" insert
}
nothing_left() {
    local left
    left=$(in_root "find / -xdev -path /root/work -prune -o -path /proc -prune -o -iname '*dirty*' -print")
    [ -z "$left" ] || die "$1 left behind: $left"
}

say 'the Debian package'
glibc=$(in_root 'dpkg-deb -f redis-dirty-streams_*.deb Depends' | sed -n 's/^libc6 (>= \(.*\))$/\1/p')
grep -qF "a glibc of $glibc or later" docs/install.md || die "docs/install.md names another glibc than $glibc, which the module needs"
nothing_left 'the bootstrap, before anything,'
logged types 'apt install'
is modules "$(listed)" dirty
is "Debian's Redis" "$(in_root "dpkg-query -Wf '\${Status}' redis-server")" 'install ok installed'
server() { in_root cat /run/redis/redis-server.pid; }
is 'the user of the server' "$(in_root "stat -c %U /proc/$(server)")" redis
is 'the mode of /etc/redis' "$(in_root 'stat -c "%a %U" /etc/redis')" '2770 redis'
is 'files that differ from the package' "$(in_root dpkg --verify redis-dirty-streams)" ''
in_root 'test -x /usr/bin/dirty-watch'
works before

say 'CONFIG REWRITE, and a restart'
is 'CONFIG SET' "$(cli CONFIG SET dirty.max-ops 500)" OK
is 'CONFIG REWRITE' "$(cli CONFIG REWRITE)" OK
restart() { logged in_root "service redis-server restart; $up"; }
restart
is modules "$(listed)" dirty
is dirty.max-ops "$(cli CONFIG GET dirty.max-ops | tail -n 1)" 500
is 'the snapshot' "$(cli HGET before:1 name)" Alice
works rewritten

say 'an upgrade'
conf=$(sha256sum <"$root/etc/redis/redis.conf") pid=$(server)
logged in_root 'mkdir next; dpkg-deb -R redis-dirty-streams_*.deb next/tree; sed -i "s/^Version: .*/Version: 99.0-1/" next/tree/DEBIAN/control
    dpkg-deb --root-owner-group -b next/tree next; rm -r next/tree; apt-get install ./next/*.deb'
is 'the version' "$(in_root "dpkg-query -Wf '\${Version}' redis-dirty-streams")" 99.0-1
is 'redis.conf' "$(sha256sum <"$root/etc/redis/redis.conf")" "$conf"
is 'the server, which goes on' "$(server)" "$pid"
works upgraded
restart
is modules "$(listed)" dirty
is 'the snapshot' "$(cli HGET upgraded:1 name)" Alice

say 'its removal'
# With an append-only file that has seen a declaration, as the chapter says.
rewritten() { in_root 'until redis-cli INFO persistence | tr -d "\r" | grep -cE "^aof_rewrite_(in_progress|scheduled):0$" | grep -qx 2; do sleep 0.1; done'; }
is 'CONFIG SET' "$(cli CONFIG SET appendonly yes)" OK
is 'CONFIG REWRITE' "$(cli CONFIG REWRITE)" OK
rewritten
works appended
cli DEL before rewritten upgraded appended {before,rewritten,upgraded,appended}-changes:readers >/dev/null
cli BGREWRITEAOF >/dev/null
rewritten
logged types 'apt purge'
is modules "$(listed)" ''
is 'the snapshot, which stays' "$(cli HGET upgraded:1 name)" Alice
if in_root dpkg-query -W redis-dirty-streams >/dev/null 2>&1; then die 'purge left something to dpkg'; fi
nothing_left purge
logged in_root service redis-server stop

say 'the tar.gz'
# begins command…: runs a server in the foreground, beside this, until `ends`.
begins() {
    "$@" >"$root/root/log" 2>&1 &
    runs=$!
    in_root "$up" || { cat "$root/root/log" >&2; die "no server: $*"; }
}
ends() {
    cli "$@" SHUTDOWN NOSAVE
    wait $runs || die "the server ended with $?"
}
# serves word command…: while the command runs a server in the foreground, the module works.
serves() {
    begins "${@:2}"
    is modules "$(listed)" dirty
    works "$1"
    ends
}
serves tar types 'tar xzf'
grep -q 'tar.gz: OK' "$root/root/log" || die 'the checksum of the tar.gz was not verified'
in_root 'mkdir bad; cp SHA256SUMS *.tar.gz bad; cd bad; printf x | dd of="$(ls *.tar.gz)" bs=1 seek=1000 conv=notrunc status=none'
if in_root 'cd bad; sha256sum --check --ignore-missing SHA256SUMS' >/dev/null 2>&1; then die 'a broken tar.gz passes'; fi
in_root 'rm -r bad dirty-streams-*/'

say 'make install'
# Debian's service lets nothing run but the server and what is in /usr/lib; /lib is the same folder.
confined() {
    unshare --mount bash -euo pipefail -c '
        mount --bind "$0" "$0"
        mount -o remount,bind,noexec "$0"
        for path in usr/bin/redis-server usr/lib; do
            mount --bind "$0/$path" "$0/$path"
            mount -o remount,bind,exec "$0/$path"
        done
        exec chroot --userspec redis:redis "$0" /usr/bin/redis-server --dir /tmp --loadmodule "$1"' "$root" "$1"
}
installs() { make --no-print-directory install PREFIX="$1" DESTDIR="$root" >/dev/null; }
read -r line < <(block 'make install')
is "docs/install.md's line" "$line" 'make install PREFIX=/usr'
installs /usr
serves usr confined /usr/lib/redis/modules/libdirty_streams.so
in_root 'grep -qx "loadmodule /usr/lib/redis/modules/libdirty_streams.so" /usr/share/doc/dirty-streams/dirty-streams.conf'
make --no-print-directory uninstall PREFIX=/usr DESTDIR="$root"
nothing_left 'make uninstall'
installs /usr/local
if timeout 10 bash -c "$(declare -f confined); root=$root; confined /usr/local/lib/redis/modules/libdirty_streams.so" >"$root/root/log" 2>&1; then
    die "Debian's service may run what is in /usr/local after all"
fi
grep -q 'failed to map segment' "$root/root/log" || { cat "$root/root/log" >&2; die 'it failed for another reason'; }
serves local in_root redis-server --loadmodule /usr/local/lib/redis/modules/libdirty_streams.so
make --no-print-directory uninstall PREFIX=/usr/local DESTDIR="$root"
nothing_left 'make uninstall'

[ "$release" = 12 ] || { say 'all of it was installed, loaded and removed as docs/install.md says'; exit 0; }

say "the Dockerfile's last stage, by hand"
is 'the Debian of the last stage' "$(stage 2 | head -n 1)" "FROM debian:$(suite "$release")-slim"
root=$folder/image
cp -a "$base" "$root"
prepare
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d" && chmod +x "$root/usr/sbin/policy-rc.d" # as the image has it
# What was built here, if the first stage was not carried out.
built=${DIRTY_MODULE:-target/release/libdirty_streams.so}
[ -z "${DOCKER_BUILD:-}" ] || built=$folder/built.so
carry_out 2
chmod -R u=rwX,go= "$root/root" # whoever the user is, it is not root
in_image() { chroot --userspec "$user" "$root" sh -c "cd $workdir && $*" </dev/null; }
healthy() { in_image "$health" >/dev/null 2>&1; }
# container option…: what `docker run` does.
container() { chroot --userspec "$user" "$root" sh -c "cd $workdir && exec \"\$@\"" - "${entrypoint[@]}" "$@"; }

if healthy; then die 'the container is healthy without a server'; fi
begins container
healthy || die 'the container is not healthy'
is 'the user of the server' "$(in_root "stat -c '%u %U' /proc/\$(redis-cli INFO server | tr -d '\r' | sed -n s/^process_id://p)")" '999 redis'
in_root ip address add 192.0.2.1/32 dev lo # an address that is not loopback
is 'the server from outside' "$(cli -h 192.0.2.1 PING)" PONG
is modules "$(listed)" dirty
works docker
ends
# The next container on the same volume.
begins container --maxmemory 1gb
is maxmemory "$(cli CONFIG GET maxmemory | tail -n 1)" 1073741824
is 'the snapshot, which is on the volume' "$(cli HGET docker:1 name)" Alice
is 'CONFIG SET' "$(cli CONFIG SET requirepass secret)" OK
healthy || die 'the container is not healthy when there is a password'
ends -a secret --no-auth-warning

say 'all of it was installed, loaded and removed as docs/install.md says, and the Dockerfile serves'
