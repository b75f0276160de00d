#!/usr/bin/env bash
# deb_booted.sh FOLDER DEB MODEL: a Debian 12 booted by its own systemd (systemd-nspawn, without a network) has the package: what
# the units promise is tried by booted.sh there.
set -euo pipefail
folder=$1 deb=$2 model=$3 here=$(dirname "$0")
root=$folder/booted
"$here"/root.sh "$root" systemd systemd-sysv dbus curl procps
cp "$deb" "$root/root/tallow.deb"
cp -r "$model" "$root/root/model"
cp "$here/booted.sh" "$root/root/booted.sh"
DEBIAN_FRONTEND=noninteractive chroot "$root" apt-get install -y -qq --no-install-recommends /root/tallow.deb >"$root.log" 2>&1
cat >"$root/etc/systemd/system/try.service" <<'UNIT'
[Unit]
After=multi-user.target
SuccessAction=poweroff-force
FailureAction=poweroff-force
[Service]
Type=oneshot
ExecStart=/bin/bash /root/booted.sh
StandardOutput=file:/root/result
StandardError=file:/root/result
UNIT
mkdir -p "$root/etc/systemd/system/default.target.wants"
ln -sf /etc/systemd/system/try.service "$root/etc/systemd/system/default.target.wants/try.service"
rm "$root/usr/sbin/policy-rc.d" # there are services to stop, now
# A first boot would enable what it finds.
echo 0123456789abcdef0123456789abcdef >"$root/etc/machine-id"
timeout 300 systemd-nspawn -q -D "$root" --boot --register=no --keep-unit --private-network --machine=tallow-deb-test \
	--system-call-filter="@system-service landlock_create_ruleset landlock_add_rule landlock_restrict_self seccomp" \
	</dev/null >"$folder/booted.console" 2>&1 || true
cat "$root/root/result"
tail -1 "$root/root/result" | grep -q '^all of it' || { echo "deb_booted.sh: see $folder/booted.console" >&2; exit 1; }
