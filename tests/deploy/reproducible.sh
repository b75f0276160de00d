#!/usr/bin/env bash
# reproducible.sh: clones what is committed into two folders and builds program and package in each, with another path, umask,
# locale, time zone, home and number of jobs, the second later than the first: the bytes are the same.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
one=$folder/a another=$folder/some/where/else/entirely
git clone -q . "$one"
git clone -q "$one" "$another"
build() {
	(cd "$1" && make -s "$2" deb) >"$folder/log" 2>&1 || { tail -20 "$folder/log" >&2; exit 1; }
}
unset MAKEFLAGS MAKELEVEL
(umask 022 && LC_ALL=C TZ=UTC build "$one" -j2)
(umask 077 && LC_ALL=C.UTF-8 TZ=Pacific/Auckland HOME=$folder build "$another" -j1)
cd "$one"
failed=0
for file in build/tallow build/tallow.debug build/deb/*.deb; do
	if cmp "$file" "$another/$file"; then sha256sum "$file"; else failed=1; fi
done
exit $failed
