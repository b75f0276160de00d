#!/usr/bin/env bash
# agents.sh CODEX CLAUDE: lets both agents make a file in a folder of their own, by a tool that the model at $URL has them call.
# They keep what they write in that folder, too.
set -euo pipefail
codex=$(realpath "$1") claude=$(realpath "$2")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export HOME=$folder CODEX_HOME=$folder/codex
mkdir -p "$CODEX_HOME" "$folder/by-codex" "$folder/by-claude"
cat >"$CODEX_HOME/config.toml" <<-END
	model = "scripted"
	model_provider = "tallow"
	[model_providers.tallow]
	name = "tallow"
	base_url = "$URL/v1"
	wire_api = "responses"
	env_key = "TALLOW_API_KEY"
END
check() { # NAME EXPECTED
	if [ "$(cat "$folder/by-$1/made.txt" 2>/dev/null)" = "$2" ] && grep -q "The file is there." "$folder/$1.log"; then
		echo "$1: its tool made the file, and it said so"
	else
		tail -n 40 "$folder/$1.log"
		echo "$1: no file, or no last word"
		return 1
	fi
}
(cd "$folder/by-codex" && timeout 120 "$codex" exec --skip-git-repo-check --dangerously-bypass-approvals-and-sandbox \
	"Make the file." </dev/null >"$folder/codex.log" 2>&1) || true
check codex exec
(cd "$folder/by-claude" && ANTHROPIC_BASE_URL=$URL ANTHROPIC_AUTH_TOKEN=$TALLOW_API_KEY ANTHROPIC_MODEL=scripted \
	ANTHROPIC_DEFAULT_HAIKU_MODEL=scripted DISABLE_AUTOUPDATER=1 timeout 120 "$claude" -p "Make the file." --allowedTools Bash \
	</dev/null >"$folder/claude.log" 2>&1) || true
check claude bash
