#!/usr/bin/env bash
# Stops what up.sh started, and nothing else.
. "$(dirname "$0")/lib.sh"

running=$(any_running)
stop_all
[ "${1-}" = -q ] || say "down: ${running:-nothing was running}"
