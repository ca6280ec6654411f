#!/usr/bin/env bash
# One request through the whole gateway, from nothing to nothing: starts the
# stack, sends the request, stops the stack.
. "$(dirname "$0")/lib.sh"

running=$(any_running)
[ -z "$running" ] || fail "already up: $running- use make down first"
trap 'stop_all' EXIT
trap 'exit 130' INT TERM

tests/stack/up.sh && tests/stack/request.sh || exit 1
say
say "run: done, stopping"
