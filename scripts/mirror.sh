#!/usr/bin/env bash
# Prints where this machine's apt gets its release's own packages, so that others of Debian can be had there, too.
# Fails where there is no apt, or it knows no such place.
set -euo pipefail
# A list of what is to be had need not be there yet.
mirror=$(. /etc/os-release && apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
    awk -v release="${VERSION_CODENAME:-}" '$1 == release && $2 == "main" { print $3; exit }')
[ -n "$mirror" ]
echo "$mirror"
