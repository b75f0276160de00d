#!/bin/sh
# Installs Debian packages if something is missing, and does nothing otherwise.
#   install.sh "pkg-config modules" "commands and files" "packages"
set -eu
missing=
for module in $1; do
	pkg-config --exists "$module" 2>/dev/null || missing="$missing $module"
done
for thing in $2; do
	case $thing in
	pytest | xdist | jsonschema | ensurepip) /usr/bin/python3 -c "import $thing" 2>/dev/null || missing="$missing $thing" ;;
	/*) [ -e "$thing" ] || missing="$missing $thing" ;;
	*) command -v "$thing" >/dev/null 2>&1 || missing="$missing $thing" ;;
	esac
done
[ -z "$missing" ] && exit 0
echo "Installing what is missing:$missing"
if ! command -v apt-get >/dev/null 2>&1; then
	echo "This is no Debian system; please install the equivalents of: $3" >&2
	exit 1
fi
give_up() {
	echo "$1; as root, with a network: apt-get install --no-install-recommends $packages" >&2
	exit 1
}
packages=$3 root=
if [ "$(id -u)" != 0 ]; then
	[ -x "$(command -v sudo)" ] || give_up "That takes root, and sudo is not here"
	root=sudo
fi
export DEBIAN_FRONTEND=noninteractive
$root apt-get update -q || give_up "apt-get cannot be used"
# shellcheck disable=SC2086 # a list of words
$root apt-get install -y -q --no-install-recommends $packages || give_up "That could not be installed"
