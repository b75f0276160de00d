#!/usr/bin/env bash
# venv.sh FOLDER REQUIREMENTS: a virtual environment with the packages of a requirements file, made anew when that changes.
set -euo pipefail
folder=$1 requirements=$2
cmp -s "$requirements" "$folder/requirements.txt" && exit 0
"$(dirname "$0")/install.sh" "" "python3 ensurepip" "python3 python3-venv"
rm -rf "$folder"
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check -r "$requirements"
cp "$requirements" "$folder/requirements.txt"
