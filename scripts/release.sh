#!/usr/bin/env bash
# Puts all that a release consists of into one folder, and looks at what it has made: release.sh folder version [arm64]
#
# The commit that is checked out must carry the tag v<version>, unless TRIAL=1: then CHANGELOG.md need not have a section of
# the version either. The versions in the tree must agree. Nothing is published or tagged, and nothing in the tree changes.
set -euo pipefail
cd "$(dirname "$0")/.."
export LC_ALL=C.UTF-8

die() { echo "release: $*" >&2; exit 1; }
say() { echo "release: $*"; }

cyclonedx=0.5.9 hatchling=1.33.0 build=1.6.1
folder=$(realpath -m "$1")
version=$2
arch=${3:-}
target=${CARGO_TARGET_DIR:-$PWD/target}
tools=$target/tools
stage=$target/release-stage

# What is released is what is committed.
[ -z "$(git status --porcelain)" ] || die "the tree is not clean: $(git status --porcelain | head -n 3 | paste -sd ' ')"
changes=Unreleased
if [ -z "${TRIAL:-}" ]; then
    git tag --points-at HEAD | grep -qxF "v$version" || die "this commit has no tag v$version; without it: make release TRIAL=1"
    changes=$version
fi
grep -qE "^## $changes( |$)" CHANGELOG.md || changes=$version
grep -qE "^## $changes( |$)" CHANGELOG.md || die "CHANGELOG.md has no section $version"
# agrees file version: what a file says.
agrees() { [ "$2" = "$version" ] || die "$1 says version '$2', not $version"; }
agrees Cargo.toml "$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)"
agrees Cargo.lock "$(awk '/^name = "dirty-streams"$/ { getline; gsub(/"/, "", $3); print $3 }' Cargo.lock)"
agrees clients/python/pyproject.toml "$(sed -n 's/^version = "\(.*\)"/\1/p' clients/python/pyproject.toml | head -n 1)"
revision=$(dpkg-parsechangelog -l packaging/changelog -S Version)
agrees packaging/changelog "${revision%-*}"
[ -n "${TRIAL:-}" ] || [ "$(dpkg-parsechangelog -l packaging/changelog -S Distribution)" != UNRELEASED ] ||
    die 'packaging/changelog says UNRELEASED'
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)

# Only what an earlier run has made is removed.
[ -z "$(ls -A "$folder" 2>/dev/null)" ] || [ -e "$folder/SHA256SUMS" ] || die "$folder holds something else"
rm -rf "$stage" "$folder"
mkdir -p "$stage" "$folder"

say 'the packages of the module'
${MAKE:-make} --no-print-directory package
cp "$target"/package/*.{deb,tar.gz} "$folder"
if [ -n "$arch" ]; then
    ${MAKE:-make} --no-print-directory package ARCH="$arch"
    cp "$target/package-$arch"/*.{deb,tar.gz} "$folder"
fi

# The rest is made from a copy of the commit: with its date, and without what lies about in the tree.
export SOURCE_DATE_EPOCH
source=$stage/dirty-streams
mkdir "$source"
git archive HEAD | tar --extract --directory "$source"

say 'the bill of materials'
if [ "$("$tools/bin/cargo-cyclonedx" cyclonedx --version 2>/dev/null)" != "cargo-cyclonedx-cyclonedx $cyclonedx" ]; then
    say "installing cargo-cyclonedx $cyclonedx into $tools"
    cargo install --quiet --locked --root "$tools" --target-dir "$tools/build" "cargo-cyclonedx@$cyclonedx"
    rm -rf "$tools/build"
fi
sbom=dirty-streams-$version.cdx.json
(cd "$source" && "$tools/bin/cargo-cyclonedx" cyclonedx --quiet --format json --spec-version 1.5 --no-build-deps \
    --target "$(rustc -vV | sed -n 's/^host: //p')" --override-filename sbom)
# Where it was made is nobody's business, and another each time.
sed "s|$source|/dirty-streams|g" "$source/sbom.json" >"$folder/$sbom"

say 'the client for Python'
python=$stage/python
python3 -m venv "$python"
"$python/bin/pip" install --quiet --disable-pip-version-check "build==$build" "hatchling==$hatchling" >&2
"$python/bin/python" -m build --no-isolation --outdir "$folder" "$source/clients/python" >"$stage/log" 2>&1 ||
    { cat "$stage/log" >&2; die 'wheel and sdist cannot be built'; }

say 'the client for Go'
go=dirty-streams-go-$version
mv "$source/clients/go" "$stage/$go"
cp -p "$source/LICENSE" "$stage/$go"
tar --create --directory "$stage" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" \
    --mode='u=rwX,go=rX' "$go" | gzip -9n >"$folder/$go.tar.gz"

# The section of the changelog.
awk -v name="$changes" '/^## / { inside = $2 == name; next } inside' CHANGELOG.md | sed '/./,$!d' >"$folder/CHANGES.md"
(cd "$folder" && sha256sum -- * >SHA256SUMS)

say 'looking at what was made'
(cd "$folder" && sha256sum --quiet --check SHA256SUMS)
look=$stage/look
mkdir "$look"
# Each crate whose licence goes with the module.
python3 - "$folder/$sbom" "$target/release/package/doc/LICENSES-third-party" <<'END' || die "$sbom is incomplete"
import json, re, sys
components = json.load(open(sys.argv[1]))["components"]
listed = {f"{component['name']} {component['version']}" for component in components}
crates = set(re.findall(r"^  (\S+ \S+)  ", open(sys.argv[2]).read(), re.M))
assert crates, "no crate has a licence"
if missing := crates - listed:
    sys.exit(f"not listed: {', '.join(sorted(missing))}")
END
! grep -q "$stage" "$folder/$sbom" || die "$sbom tells where it was made"
python3 -m venv "$look/venv"
"$look/venv/bin/pip" install --quiet --disable-pip-version-check "$(echo "$folder"/*.whl)[cli]" >&2
(cd / && "$look/venv/bin/dirty" --help) | grep -q '^usage: dirty' || die "the wheel's dirty does not work"
[ "$(cd / && "$look/venv/bin/dirty" --version)" = "dirty $version" ] || die "the wheel's dirty says another version"
tar --extract --gzip --file "$folder/$go.tar.gz" --directory "$look"
if command -v go >/dev/null; then (cd "$look/$go" && GOFLAGS=-mod=mod GOPROXY=off go vet .); else say 'SKIPPED: no go here, the client for Go was not built'; fi
(cd "$folder" && ls -sh1)
say "all in $folder; nothing was published"
