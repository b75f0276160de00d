#!/bin/sh
# Puts promtool (of Debian's package prometheus) into the folder $1: the program alone, without installing the service.
set -eu
[ -x "$1/promtool" ] && exit 0
command -v promtool >/dev/null 2>&1 && exit 0
root=
[ "$(id -u)" = 0 ] || root=sudo
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
chmod 755 "$folder"
$root apt-get update -q
(cd "$folder" && apt-get download -q prometheus && dpkg-deb -x prometheus_*.deb unpacked)
mkdir -p "$1"
cp "$folder/unpacked/usr/bin/promtool" "$1/promtool"
