#!/bin/sh
# root.sh PROGRAM FOLDER: everything a container needs to run PROGRAM and nothing else: it, the shared libraries that it names
# with what they are licensed under, certificates (callbacks may go to https), a user. On Debian.
set -eu
program=$1 root=$2
take() { mkdir -p "$root$(dirname "$1")" && cp -L "$1" "$root$1"; }
mkdir -p "$root/usr/bin" "$root/etc"
install -m 755 "$program" "$root/usr/bin/tallow"
ldd "$program" | grep -oE '/[^ ]+' | while read -r library; do
	take "$library"
	package=$(dpkg -S "*/$(basename "$(readlink -f "$library")")" | head -1 | cut -d: -f1)
	take "/usr/share/doc/$package/copyright"
done
[ ! -e /etc/ssl/certs/ca-certificates.crt ] || take /etc/ssl/certs/ca-certificates.crt
echo 'tallow:x:65532:65532::/:/' >"$root/etc/passwd"
echo 'tallow:x:65532:' >"$root/etc/group"
