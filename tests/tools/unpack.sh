#!/bin/sh
# Unpacks Debian packages into a folder, for programs that a test wants without the services that their installation starts.
# Does nothing where the folder has them already.
#   unpack.sh FOLDER "packages"
set -eu
[ "$(cat "$1/complete" 2>/dev/null)" = "$2" ] && exit 0
give_up() {
	echo "$1, which takes a Debian system and a network; as root: apt-get update" >&2
	exit 1
}
rm -rf "$1" && mkdir -p "$1/packages"
echo "Fetching: $2"
if [ "$(id -u)" = 0 ]; then apt-get update -q; fi
# shellcheck disable=SC2086 # a list of words
(cd "$1/packages" && apt-get download -q $2) || give_up "That could not be fetched"
for package in "$1"/packages/*.deb; do
	dpkg-deb -x "$package" "$1"
done
rm -r "$1/packages"
echo "$2" >"$1/complete"
