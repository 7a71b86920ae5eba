#!/bin/sh
# Prints a key's secret with curl: get.sh NAME. Exit status 3 when locked, 2 without an agent, 1 otherwise.
# The agent's socket is $AKM_AGENT_SOCK; any HTTP client that can speak to a Unix socket does the same.
set -eu

[ $# -eq 1 ] || { echo "usage: get.sh NAME" >&2; exit 64; }
# A key's name has no quotes or backslashes, so it needs no escaping; anything else is refused here.
case $1 in *[\"\\]*) echo "that is not the name of a key" >&2; exit 1 ;; esac

answer=$(printf '{"name":"%s"}' "$1" |
    curl --silent --show-error --unix-socket "$AKM_AGENT_SOCK" --data-binary @- http://akm/v1/key.get) || exit 2

case $answer in
'{"ok":true,'*)
    # The secret is printable ASCII; in JSON only the quote and the backslash are escaped.
    printf '%s\n' "$answer" | sed -e 's/.*"secret":"\(.*\)"}}$/\1/' -e 's/\\\(["\\]\)/\1/g'
    ;;
*'"kind":"locked"'*) echo "$answer" >&2; exit 3 ;;
*) echo "$answer" >&2; exit 1 ;;
esac
