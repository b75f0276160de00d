#!/usr/bin/env bash
# container.sh FOLDER MODEL COMMIT: builds the image from the Containerfile, on a Debian 12 of root.sh's making (no registry is
# asked; BASE=image names another), and runs it as it is meant to be run: as nobody, on a root that is only read, without
# capabilities, under the default seccomp profile. As root, with a network for apt. FOLDER is where images lie.
set -euo pipefail
folder=$(realpath -m "$1") model=$(realpath "$2") commit=$3 here=$(dirname "$0") key=a-key
MOST_BYTES=40000000
store=(--storage-driver vfs --root "$folder/images" --runroot "$folder/run")
name=localhost/tallow:test container=
fail() { echo "container.sh: $*" >&2; exit 1; }
trap '[ -z "$container" ] || podman "${engine[@]}" rm -f -t 0 "$container" >/dev/null 2>&1' EXIT
mkdir -p "$folder"

if [ -z "${BASE:-}" ]; then
	BASE=localhost/bookworm:test
	if ! buildah "${store[@]}" inspect --type image "$BASE" >/dev/null 2>&1; then
		"$here"/root.sh "$folder/base"
		working=$(buildah "${store[@]}" from scratch)
		buildah "${store[@]}" add -q "$working" "$folder/base" / >/dev/null
		buildah "${store[@]}" commit -q --rm "$working" "$BASE" >/dev/null
		rm -rf "$folder/base"
	fi
fi
buildah "${store[@]}" bud -q --isolation chroot --format docker --build-arg BASE="$BASE" --build-arg COMMIT="$commit" \
	-f src/deploy/container/Containerfile --ignorefile src/deploy/container/Containerfile.dockerignore -t "$name" . >"$folder/build.log" 2>&1 ||
	{ tail -20 "$folder/build.log" >&2; fail "cannot be built"; }

# What starts containers differs in which cgroups it can do with.
for runtime in "" crun runc; do
	engine=("${store[@]}" --cgroup-manager cgroupfs ${runtime:+--runtime "$runtime"})
	limits=(--ulimit nofile=4096:4096 --ulimit nproc=4096:4096) # no more than this machine may have
	podman "${engine[@]}" run --rm --network=none "${limits[@]}" "$name" --version >"$folder/version" 2>"$folder/why" && break
	[ "$runtime" != runc ] || fail "nothing here can start a container: $(tail -1 "$folder/why")"
done
grep -qx "commit: $commit" "$folder/version" || fail "--version: $(cat "$folder/version")"
bytes=$(podman "${engine[@]}" image inspect --format '{{.Size}}' "$name")
[ "$bytes" -lt $MOST_BYTES ] || fail "$bytes bytes are more than $MOST_BYTES"
! podman "${engine[@]}" run --rm --network=none "${limits[@]}" --entrypoint /bin/sh "$name" -c true 2>/dev/null || fail "there is a shell"

safe=(--read-only --cap-drop=all --security-opt no-new-privileges -v "$model:/model:ro")
code=0
podman "${engine[@]}" run --rm --network=none "${limits[@]}" "${safe[@]}" "$name" >"$folder/log" 2>&1 || code=$?
[ "$code" = 2 ] || fail "without a key: exit code $code"

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
url=http://127.0.0.1:$port
# On the network of this machine, and so on its loopback alone.
container=$(podman "${engine[@]}" run -d --network=host "${limits[@]}" "${safe[@]}" -e TALLOW_HOST=127.0.0.1 -e TALLOW_PORT="$port" \
	-e TALLOW_API_KEY=$key "$name" 2>"$folder/why")
for _ in $(seq 300); do podman "${engine[@]}" healthcheck run "$container" >/dev/null 2>&1 && break; sleep 0.2; done
podman "${engine[@]}" healthcheck run "$container" >/dev/null || fail "never healthy: $(podman "${engine[@]}" logs "$container" 2>&1 | tail -3)"
[ "$(curl -s -o /dev/null -w '%{http_code}' "$url/execute" -d '{"prompt":"x"}')" = 401 ] || fail "no key is asked for"
curl -fsSN -H "Authorization: Bearer $key" "$url/execute" -d '{"prompt":"Once upon a time","max_tokens":20}' >"$folder/stream"
grep -q '^event: token' "$folder/stream" && grep -q '^event: end' "$folder/stream" || fail "/execute does not stream"
sandbox=$(curl -fsS -H "Authorization: Bearer $key" "$url/info" | grep -oE '"sandbox":\{[^}]*\}')
for promise in '"seccomp":true' '"no_new_privs":true' '"no_capabilities":true'; do
	grep -q "$promise" <<<"$sandbox" || fail "the worker's own sandbox beneath the container's: $sandbox"
done
pid=$(podman "${engine[@]}" inspect --format '{{.State.Pid}}' "$container")
[ "$(awk '/^Uid/ { print $2 }' "/proc/$pid/status")" = 65532 ] || fail "runs as somebody else"
stop_it() {
	podman "${engine[@]}" stop -t 30 "$container" >/dev/null 2>"$folder/why"
	[ "$(podman "${engine[@]}" inspect --format '{{.State.ExitCode}}' "$container")" = 0 ] || fail "stop: another exit code than 0"
	podman "${engine[@]}" rm "$container" >/dev/null 2>&1
}
stop_it

# As README has it: in a network of its own, one port of it published on the loopback of this machine.
container=$(podman "${engine[@]}" run -d -p "127.0.0.1:$port:8080" "${limits[@]}" "${safe[@]}" -e TALLOW_API_KEY=$key "$name" 2>"$folder/why") ||
	fail "no port could be published: $(tail -1 "$folder/why")"
curl -fsS --retry 300 --retry-delay 1 --retry-all-errors -o /dev/null -H "Authorization: Bearer $key" "$url/v1/ready" 2>/dev/null || fail "the published port does not answer"
[ "$(curl -s -o /dev/null -w '%{http_code}' "$url/execute" -d '{"prompt":"x"}')" = 401 ] || fail "no key is asked for at the published port"
curl -fsSN -H "Authorization: Bearer $key" "$url/execute" -d '{"prompt":"Once upon a time","max_tokens":20}' >"$folder/stream"
grep -q '^event: end' "$folder/stream" || fail "/execute does not stream through the published port"
stop_it
echo "container.sh: the same through a published port"
container=
echo "container.sh: $bytes bytes; served as nobody on a root that is only read; $sandbox"
