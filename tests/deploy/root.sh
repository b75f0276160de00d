#!/usr/bin/env bash
# root.sh FOLDER [PACKAGE...]: a minimal Debian 12 in FOLDER, with these packages; as root. The minimal one is fetched once, to bookworm
# beside FOLDER, from $DEBIAN_MIRROR; each call copies it afresh.
set -euo pipefail
folder=$1 mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
shift
[ "$(id -u)" = 0 ] || { echo "root.sh: debootstrap and chroot need root" >&2; exit 1; }
base=$(dirname "$folder")/bookworm
mkdir -p "$(dirname "$folder")"
if [ ! -e "$base/done" ]; then
	rm -rf "$base"
	debootstrap --variant=minbase bookworm "$base" "$mirror" >"$base.log" 2>&1 || {
		tail -3 "$base.log" >&2
		echo "root.sh: no Debian could be fetched from $mirror: is there a network? (DEBIAN_MIRROR names another)" >&2
		exit 1
	}
	# No service is to be started by a package in a chroot.
	printf '#!/bin/sh\nexit 101\n' >"$base/usr/sbin/policy-rc.d"
	chmod 755 "$base/usr/sbin/policy-rc.d"
	touch "$base/done"
fi
rm -rf "$folder"
cp -a "$base" "$folder"
[ $# = 0 ] || DEBIAN_FRONTEND=noninteractive chroot "$folder" apt-get install -y -qq --no-install-recommends "$@" >"$folder.log" 2>&1 ||
	{ tail -5 "$folder.log" >&2; exit 1; }
