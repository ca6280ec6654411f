#!/usr/bin/env bash
# Measures whether limits hold under load, and at what cost: three nodes, one
# Redis, both modes; first a limit that is smaller than what is asked for, then
# one that is larger.
#
#   tests/load/limits.sh
#
# REQUESTS=100000 AT_ONCE=1000 LIMIT=2000000 (tokens) SHARE=0.05,
# ROOM_AT_ONCE=200 where there is room, REDIS_SERVER=path
set -euo pipefail
cd "$(dirname "$0")/../.."
requests=${REQUESTS:-100000} at_once=${AT_ONCE:-1000} limit=${LIMIT:-2000000}
share=${SHARE:-0.05} room_at_once=${ROOM_AT_ONCE:-200}
room=$((requests * 1000))
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

# Prints the results of the nodes and what Redis holds afterwards, in one line.
measure() { # LIMIT AT_ONCE SHARE
    local said entries twice held calls
    ask FLUSHALL >/dev/null
    ask CONFIG RESETSTAT >/dev/null
    said=$(build/limits "$run/redis.sock" "$requests" "$2" "$1" "$3")
    ask --raw XRANGE 'gw:{bench}:ledger' - + | grep '^n-' |
        sort >"$run/entries" || :
    entries=$(uniq "$run/entries" | wc -l)
    twice=$(uniq -d "$run/entries" | wc -l)
    held=$(ask --raw HGET 'gw:{bench}:limits' tight)
    calls=$(ask INFO commandstats |
        sed -n 's/^cmdstat_evalsha:calls=\([0-9]*\).*/\1/p')
    echo "$said limit=$1 share=$3 entries=$entries twice=$twice" \
        "held=${held##*:} calls=$calls"
}

{
    measure "$limit" "$at_once" 0
    measure "$limit" "$at_once" "$share"
    measure "$room" "$room_at_once" 0
    measure "$room" "$room_at_once" "$share"
} >"$run/said"

awk '
function row(name, unit, a, b, c, d) {
    printf "%-24s%12s%12s%12s%12s  %s\n", name, a, b, c, d, unit
}
function rows(name, unit, key, how,   i, cell) {
    for (i = 1; i <= 4; i++) cell[i] = sprintf(how, v[i, key])
    row(name, unit, cell[1], cell[2], cell[3], cell[4])
}
{
    for (i = 1; i <= NF; i++) { split($i, w, "="); v[NR, w[1]] = w[2] }
    over = v[NR, "most_held"] - v[NR, "limit"]
    v[NR, "over"] = over > 0 ? over : 0
    v[NR, "bound"] = v[NR, "nodes"] * v[NR, "share"] * v[NR, "limit"]
    v[NR, "lost"] = v[NR, "admitted"] - v[NR, "entries"]
    v[NR, "off"] = v[NR, "held"] - v[NR, "used"]
    v[NR, "at_once"] = 100 * v[NR, "leased"] / v[NR, "requested"]
    v[NR, "each"] = v[NR, "calls"] / v[NR, "requested"]
    v[NR, "rate"] = v[NR, "requested"] / v[NR, "seconds"]
    bad = bad || v[NR, "over"] > v[NR, "bound"] || v[NR, "lost"] ||
        v[NR, "twice"] || v[NR, "off"] || v[NR, "failed"] > 0
}
END {
    row("", "", "used up", "", "with room", "")
    row("", "", "exact", "lease", "exact", "lease")
    rows("requested", "", "requested", "%d")
    rows("admitted", "", "admitted", "%d")
    rows("overshoot", "tokens", "over", "%d")
    rows("  at most", "tokens: nodes * share * limit", "bound", "%d")
    rows("lost", "", "lost", "%d")
    rows("double counted", "", "twice", "%d")
    rows("token difference", "Redis less what was used", "off", "%d")
    rows("Redis calls", "per request", "each", "%.2f")
    rows("decided by the node", "%", "at_once", "%.0f")
    rows("wait for a decision", "ms, mean", "wait_ms", "%.2f")
    rows("decisions", "per second", "rate", "%.0f")
    exit NR != 4 || bad
}' "$run/said"
