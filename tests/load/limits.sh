#!/usr/bin/env bash
# Whether limits hold under load, and what that costs: three nodes, one Redis,
# a limit that is too small for what is asked.
#
#   tests/load/limits.sh
#
# REQUESTS=100000 AT_ONCE=1000 LIMIT=2000000 (tokens), REDIS_SERVER=path
set -euo pipefail
cd "$(dirname "$0")/../.."
requests=${REQUESTS:-100000} at_once=${AT_ONCE:-1000} limit=${LIMIT:-2000000}
run=$(mktemp -d)
redis=''
trap '[ -z "$redis" ] || kill "$redis"; wait; rm -r "$run"' EXIT

"${REDIS_SERVER:-redis-server}" --port 0 --unixsocket "$run/redis.sock" \
    --save '' --dir "$run" --logfile redis.log >/dev/null &
redis=$!
ask() { redis-cli -s "$run/redis.sock" "$@"; }
for _ in $(seq 200); do
    [ "$(ask ping 2>/dev/null)" != PONG ] || break
    sleep 0.05
done

said=$(build/limits "$run/redis.sock" "$requests" "$at_once" "$limit")
ask --raw XRANGE 'gw:{bench}:ledger' - + | grep '^n-' >"$run/entries" || :
held=$(ask --raw HGET 'gw:{bench}:limits' tight)
calls=$(ask INFO commandstats | sed -n 's/^cmdstat_evalsha:calls=\([0-9]*\).*/\1/p')
sort "$run/entries" | uniq -d >"$run/twice"

awk -v said="$said" -v limit="$limit" -v held="${held##*:}" \
    -v entries="$(sort -u "$run/entries" | wc -l)" \
    -v twice="$(wc -l <"$run/twice")" -v calls="$calls" 'BEGIN {
    n = split(said, words, " ")
    for (i = 1; i <= n; i++) { split(words[i], w, "="); v[w[1]] = w[2] }
    over = v["most_held"] > limit ? v["most_held"] - limit : 0
    lost = v["admitted"] - entries
    printf "requested         %d\nadmitted          %d\n", \
        v["requested"], v["admitted"]
    printf "overshoot         %d tokens of %d\n", over, limit
    printf "lost              %d\ndouble counted    %d\n", lost, twice
    printf "token difference  %d (Redis less what was used)\n", \
        held - v["used"]
    printf "Redis calls       %.2f per request\n", calls / v["requested"]
    printf "decisions         %.0f per second\n", v["requested"] / v["seconds"]
    exit over || lost || twice || held != v["used"] || v["failed"] > 0
}'
