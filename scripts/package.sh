#!/usr/bin/env bash
# Packs the release module, as it is in target/release, into a Debian package and a tar.gz: package.sh folder [arm64].
# With arm64 it packs what scripts/arm64.sh has built.
# What they hold depends on the module, the repository and the changelog's date alone, so packing the
# same again gives the same bytes. (A build elsewhere gives another module: paths are in its panics' messages.)
#
# Redis names functions in its crash reports by what a library exports, which the module's own functions are
# not, whatever is stripped: so all that is not needed to run goes into a package of its own (-dbgsym), by
# which gdb and addr2line find the line of an address in the report.
set -euo pipefail
cd "$(dirname "$0")/.."
export LC_ALL=C.UTF-8 # the order of lists, and the letters of --help

die() { echo "package: $*" >&2; exit 1; }

cargo_deb=3.8.0
folder=$(realpath -m "$1")
target=${CARGO_TARGET_DIR:-$PWD/target}
machine=$(uname -m) objcopy=objcopy release=$target/release cross=()
if [ "${2:-arm64}" != arm64 ]; then die "for this machine, or for arm64; not for $2"; fi
if [ "${2:-}" = arm64 ] && [ "$machine" != aarch64 ]; then
    machine=aarch64 objcopy=aarch64-linux-gnu-objcopy
    export CARGO_BUILD_TARGET=aarch64-unknown-linux-gnu # also for `cargo tree`, which tells the licences
    release=$target/$CARGO_BUILD_TARGET/release cross=(--target "$CARGO_BUILD_TARGET" --variant arm64)
    needs=$(aarch64-linux-gnu-objdump -T "$release/libdirty_streams.so" | grep -o 'GLIBC_[0-9.]*' | sort -Vu | tail -n 1)
    grep -qF "libc6 (>= ${needs#*_})" Cargo.toml || die "Cargo.toml names another glibc than $needs, which the module needs on arm64"
fi
stage=$release/package
for program in dpkg-shlibdeps:dpkg-dev objcopy:binutils; do
    command -v "${program%:*}" >/dev/null || die "${program%:*} is missing: apt-get install ${program#*:}"
done

# Cargo's caches are many files; they are not kept.
tools=$target/tools
if [ "$("$tools/bin/cargo-deb" --version 2>/dev/null)" != "cargo-deb $cargo_deb" ]; then
    echo "package: installing cargo-deb $cargo_deb into $tools"
    env -u CARGO_BUILD_TARGET cargo install --quiet --locked --root "$tools" --target-dir "$tools/build" "cargo-deb@$cargo_deb"
    rm -rf "$tools/build"
fi

changelog() { dpkg-parsechangelog -l packaging/changelog -S "$1"; }
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
revision=$(changelog Version)
[ "${revision%-*}" = "$version" ] || die "Cargo.toml says version $version, packaging/changelog $revision"
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(changelog Timestamp)}

# Only what an earlier run has made is removed.
[ -z "$(ls -A "$folder" 2>/dev/null)" ] || [ -e "$folder/SHA256SUMS" ] || die "$folder holds something else"
rm -rf "$stage" "$folder"
mkdir -p "$stage/doc" "$folder"
cp README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md "$stage/doc"
cp -r docs "$stage/doc"
scripts/examples.sh "$stage/doc"
scripts/licences.sh >"$stage/doc/LICENSES-third-party"
# The manual page is what --help says.
{
    printf '.TH DIRTY-WATCH 1 "" "Dirty Streams %s"\n.SH NAME\ndirty-watch \\- shows live events of streams\n' "$version"
    printf '.SH SYNOPSIS\n.nf\n'
    scripts/watch.py --help | sed -e 's/\\/\\\\/g; s/-/\\-/g; s/watch\.py/dirty\\-watch/g' -e "s/^\([.']\)/\\\\\&\1/"
    printf '.fi\n'
} | gzip -9n >"$stage/dirty-watch.1.gz"

cargo-deb() { "$tools/bin/cargo-deb" deb --no-build --locked --deb-revision "${revision##*-}" --quiet "${cross[@]}" "$@"; }
cargo-deb --dbgsym --output "$folder"
for package in "$folder"/*.ddeb; do mv "$package" "${package%.ddeb}.deb"; done

# The same for everybody else.
name=dirty-streams-$version-$(uname -s | tr '[:upper:]' '[:lower:]')-$machine
mkdir "$stage/$name"
cp -r "$stage"/doc/* LICENSE packaging/dirty-streams.conf scripts/redis_exporter.lua "$stage/$name"
install -m 755 scripts/watch.py "$stage/$name/dirty-watch"
"$objcopy" --strip-unneeded "$release/libdirty_streams.so" "$stage/$name/libdirty_streams.so"
chmod 755 "$stage/$name/libdirty_streams.so"
scripts/check-links.pl "$stage/$name" || die 'a link in the packed documentation leads nowhere'
tar --create --directory "$stage" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" \
    --mode='u=rwX,go=rX' "$name" | gzip -9n >"$folder/$name.tar.gz"
(cd "$folder" && sha256sum -- *.deb *.tar.gz >SHA256SUMS && ls -sh1)
echo "package: all in $folder"
