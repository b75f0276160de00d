#!/usr/bin/env bash
# deb.sh FOLDER DEB MODEL: installs the package in a minimal Debian 12 without systemd, serves the model there, upgrades and
# purges; then in one that systemd boots (deb_booted.sh). As root, with a network. FOLDER is where the systems are made.
set -euo pipefail
folder=$1 deb=$2 model=$3 here=$(dirname "$0")
root=$folder/plain
fail() { echo "deb.sh: $*" >&2; exit 1; }
inside() { DEBIAN_FRONTEND=noninteractive chroot "$root" "$@"; }
# Everything of the package's name, but for what apt and dpkg note of the past.
traces() { find "$root" -xdev \( -path "$root/var/log" -o -path "$root/root" -o -path "$root/var/cache" \) -prune -o -name '*tallow*' -print; }
install_it() { inside apt-get install -y -qq --no-install-recommends /root/tallow.deb >"$root.log" 2>&1 || { tail "$root.log"; fail "cannot be installed"; }; }
purge_it() { inside apt-get purge -y -qq tallow >"$root.log" 2>&1 || { tail "$root.log"; fail "cannot be purged"; }; }

"$here"/root.sh "$root"
cp "$deb" "$root/root/tallow.deb"
install_it
inside tallow --version | head -1
[ "$(inside stat -c '%U %a' /var/lib/tallow)" = "tallow 750" ] || fail "/var/lib/tallow is not as the service has it"

cp -r "$model" "$root/var/lib/tallow/model"
printf 'model = /var/lib/tallow/model\nport = 0\n' >>"$root/etc/tallow/tallow.conf"
inside tallow serve --check >/dev/null 2>&1 || fail "serve --check says no"
rm -f "$folder/ready" # of an earlier run
chroot --userspec=tallow:tallow "$root" tallow >"$folder/ready" 2>"$folder/log" &
worker=$!
trap 'kill "$worker" 2>/dev/null || true' EXIT
while [ ! -s "$folder/ready" ]; do kill -0 "$worker" || fail "the worker ended: $(tail -1 "$folder/log")"; sleep 0.1; done
port=$(sed -E 's/.*"port":([0-9]+).*/\1/' "$folder/ready")
curl -fsS "http://127.0.0.1:$port/health" >/dev/null || fail "/health does not answer"
curl -fsSN "http://127.0.0.1:$port/execute" -d '{"prompt":"The capital of France is","max_tokens":20,"temperature":0}' >"$folder/stream"
grep -q '^event: token' "$folder/stream" && grep -q '^event: end' "$folder/stream" || fail "/execute does not stream"
kill -TERM "$worker"
wait "$worker" || fail "SIGTERM: exit code $?"
trap - EXIT

install_it # once more: what was configured stays
grep -q '^port = 0' "$root/etc/tallow/tallow.conf" || fail "an upgrade lost the configuration"
touch "$root/etc/tallow/api-keys"
purge_it
grep -q '/var/lib/tallow holds what this package did not put there' "$root.log" && [ -d "$root/var/lib/tallow/model" ] || fail "the model did not stay"
install_it
rm -r "$root/var/lib/tallow/model"
purge_it
[ -z "$(traces)" ] || fail "purged, and there is left: $(traces)"
! inside getent passwd tallow && ! inside getent group tallow || fail "purged, and the user is left"
echo "deb.sh: installed, served, upgraded, purged"

exec "$here"/deb_booted.sh "$folder" "$deb" "$model"
