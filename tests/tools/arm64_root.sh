#!/bin/sh
# Unpacks Debian packages for arm64 into a folder. apt works on a state of its own with the machine's sources, so that
# the machine's packages and its list of architectures stay as they are.
#   arm64_root.sh folder "packages"
set -eu
root=$1
[ "$(cat "$root/complete" 2>/dev/null)" = "$2" ] && exit 0
rm -rf "$root"
echo "Fetching for arm64: $2"
mkdir -p "$root/apt/state/lists/partial" "$root/apt/cache/archives/partial" "$root/apt/packages"
root=$(cd "$root" && pwd)
: >"$root/apt/status"
apt() {
	apt-get -q -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o APT::Sandbox::User=root \
		-o Dir::State="$root/apt/state" -o Dir::State::status="$root/apt/status" -o Dir::Cache="$root/apt/cache" \
		-o Acquire::Languages=none "$@"
}
apt update || echo "Some sources have nothing for arm64; going on with the others." >&2
# shellcheck disable=SC2086 # a list of words
(cd "$root/apt/packages" && apt download $2)
for package in "$root"/apt/packages/*.deb; do
	dpkg-deb -x "$package" "$root"
done
rm -r "$root/apt"
echo "$2" >"$root/complete"
