#!/bin/bash
# Run by deb_booted.sh as root in a system of its own that has the package: what the units promise.
set -euo pipefail
URL=http://127.0.0.1:8080
fail() { echo "booted.sh: $*"; systemctl status tallow.service --no-pager || true; journalctl -u tallow.service --no-pager | tail -20; exit 1; }
soon() { for _ in $(seq 300); do "$@" >/dev/null 2>&1 && return; sleep 0.2; done; fail "never: $*"; }
healthy() { curl -fsS $URL/health; }
main_pid() { systemctl show -P MainPID tallow.service; }
worker_pid() { pgrep -P "$(main_pid)" tallow | head -1; }
restarts() { systemctl show -P NRestarts tallow.service; }
is() { [ "$1" = "$2" ] || fail "$3: $1, not $2"; }
execute() { curl -sSN "${@:2}" $URL/execute -d "{\"prompt\":\"Once upon a time\",\"max_tokens\":$1,\"ignore_eos\":true}"; }
said() { echo "  $*"; }

is "$(systemctl is-enabled tallow.service tallow.socket | sort -u)" disabled "after installing"
is "$(systemctl is-active tallow.service)" inactive "after installing"
cp -r /root/model /var/lib/tallow/model
printf 'model = /var/lib/tallow/model\nshutdown-timeout = 80s\n' >>/etc/tallow/tallow.conf
systemctl enable --now tallow.service 2>/dev/null || fail "does not start"
healthy >/dev/null || fail "started, and not ready"
is "$(ps -o user= -p "$(main_pid)")" tallow user
is "$(execute 20 | grep -c '^event: end')" 1 "a stream"
said "starts: ready when systemctl returns, as the user tallow"

sandbox=$(curl -fsS $URL/info | grep -oE '"sandbox":\{[^}]*\}')
for promise in '"seccomp":true' '"no_new_privs":true' '"no_capabilities":true' '"not_dumpable":true'; do
	grep -q "$promise" <<<"$sandbox" || fail "the worker's own sandbox beneath the unit's: $sandbox"
done
[ "$(uname -r | cut -d. -f1)" -lt 6 ] || grep -q '"landlock":[1-9]' <<<"$sandbox" || fail "Landlock beneath the unit's: $sandbox"
said "its own sandbox holds beneath the unit's: $sandbox"

before=$(worker_pid)
kill -SEGV "$before"
soon healthy
is "$(restarts)" 0 "a crash was systemd's affair"
[ "$(worker_pid)" != "$before" ] || fail "the worker that crashed is there"
said "a crash: another worker, the same service"

echo a-key >/etc/tallow/api-keys
chown root:tallow /etc/tallow/api-keys
chmod 640 /etc/tallow/api-keys
echo 'api-key-file = /etc/tallow/api-keys' >>/etc/tallow/tallow.conf
systemctl restart tallow.service
is "$(execute 2 -o /dev/null -w '%{http_code}')" 401 "without a key"
echo another-key >/etc/tallow/api-keys
systemctl reload tallow.service
accepted() { [ "$(execute 2 -o /dev/null -w '%{http_code}' -H 'Authorization: Bearer another-key')" = 200 ]; }
soon accepted
sed -i '/^api-key-file/d' /etc/tallow/tallow.conf
echo 'TALLOW_API_KEY=third-key' >/etc/tallow/environment
chmod 600 /etc/tallow/environment
systemctl restart tallow.service
is "$(execute 2 -o /dev/null -w '%{http_code}')" 401 "without the environment's key"
is "$(execute 2 -o /dev/null -w '%{http_code}' -H 'Authorization: Bearer third-key')" 200 "with the environment's key"
rm /etc/tallow/environment
systemctl restart tallow.service
said "keys of a file, read again by reload, and of the environment"

for i in $(seq 16); do execute 900 >/tmp/stream-$i & done
all_began() { [ "$(grep -l '^event: token' /tmp/stream-* | wc -l)" = 16 ]; }
soon all_began
systemctl stop tallow.service
wait
is "$(grep -l '^event: end' /tmp/stream-* | wc -l)" 16 "streams that ran when it was stopped and came to their end"
is "$(systemctl show -P Result tallow.service)" success "stopped"
said "stop: 16 streams that ran came to their end"

systemctl enable --now tallow.socket 2>/dev/null
is "$(systemctl is-active tallow.service)" inactive "before anybody connects"
soon healthy
is "$(systemctl is-active tallow.service)" active "after somebody connected"
(while [ ! -e /tmp/enough ]; do curl -sS -m 60 $URL/livez >/dev/null || touch /tmp/refused; done) &
systemctl restart tallow.service
soon healthy
touch /tmp/enough
wait
[ ! -e /tmp/refused ] || fail "a connection was refused while it was started again"
said "the socket: started by who connects; nobody was refused while it was started again"

mkdir -p /etc/systemd/system/tallow.service.d
printf '[Service]\nWatchdogSec=2\n' >/etc/systemd/system/tallow.service.d/short.conf
systemctl daemon-reload
systemctl restart tallow.service
soon healthy
kill -STOP "$(worker_pid)"
once_more() { [ "$(restarts)" = 1 ]; }
soon once_more
soon healthy
said "the watchdog: a worker that stands still is replaced"

echo 'model = /nowhere' >/etc/tallow/wrong.conf
printf '[Service]\nExecStart=\nExecStart=/usr/bin/tallow serve --config /etc/tallow/wrong.conf\n' >/etc/systemd/system/tallow.service.d/short.conf
systemctl daemon-reload
! systemctl restart tallow.service 2>/dev/null || fail "starts without a model"
sleep 3
is "$(systemctl is-failed tallow.service)" failed "without a model"
is "$(restarts)" 0 "a model that is not there was tried again"
rm -r /etc/systemd/system/tallow.service.d /etc/tallow/wrong.conf
systemctl daemon-reload
systemctl reset-failed tallow.service
said "a model that is not there: failed, and not tried again and again"

systemctl start tallow.service
rm -r /var/lib/tallow/model
DEBIAN_FRONTEND=noninteractive apt-get purge -y -qq tallow >/root/purge 2>&1 || { cat /root/purge; fail "cannot be purged"; }
! pgrep -x tallow || fail "purged, and it runs"
! getent passwd tallow || fail "purged, and the user is left"
left=$(find / -xdev \( -path /var/log -o -path /root -o -path /var/cache -o -path /proc -o -path /sys \) -prune -o -name '*tallow*' -print)
[ -z "$left" ] || fail "purged, and there is left: $left"
said "purged while it ran: ended, and nothing left"
echo "all of it"
