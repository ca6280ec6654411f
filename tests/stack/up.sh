#!/usr/bin/env bash
# Starts Redis, the simulator, the agent and HAProxy, and waits until each one
# is ready. Refuses when they already run or a port is taken; whatever fails
# here is stopped again.
. "$(dirname "$0")/lib.sh"

running=$(any_running)
[ -z "$running" ] || fail "already up: $running- use make down first"
check_ports || fail "the stack cannot start"
for program in "${agent[0]}" build/foundry-sim; do
    command -v "$program" >/dev/null || fail "$program is not built"
done
[ -r "$config" ] || fail "$config: no such configuration (CONFIG=file)"
[ -x "$haproxy" ] || fail "$haproxy: no HAProxy here (HAPROXY=path)"

mkdir -p "$run"
run=$(realpath "$run")
rm -f "$run"/*.log
mkdir -p "$run/redis"

start_redis() {
    start redis redis-server --bind "${redis%:*}" --port "${redis##*:}" \
        --dir "$run/redis" --save '' --appendonly no
    wait_for redis "answering on $redis" \
        redis-cli -h "${redis%:*}" -p "${redis##*:}" ping
}

start_sim() {
    start sim build/foundry-sim --listen "$sim"
    wait_for sim "listening on $sim" grep -q '^listening on' "$run/sim.log"
}

start_agent() {
    "${agent[@]}" check "$config" >"$run/check.log" 2>&1 || {
        cat "$run/check.log" >&2
        return 1
    }
    "${agent[@]}" render-haproxy "$config" >"$run/backends.cfg" ||
        return 1
    start agent "${agent[@]}" run "$config"
    wait_for agent "ready on http://$agent_http/readyz" \
        curl -fs --noproxy '*' "http://$agent_http/readyz"
}

start_haproxy() {
    make_certificates || return 1
    export GATEWAY_HTTPS=$https GATEWAY_HTTP=$http GATEWAY_SPOP=$spop
    export GATEWAY_USAGE=$usage GATEWAY_CERT=$run/tls/gateway.pem
    export GATEWAY_LUA=$PWD/lua/usage.lua
    export GATEWAY_SPOE=$PWD/haproxy-conf/spoe-gateway.conf
    export GATEWAY_AGENT=$agent_http GATEWAY_STATS=$stats
    export GATEWAY_SOCKET=$run/haproxy.sock
    export GATEWAY_NOREUSEPORT=1
    local files=(-f haproxy-conf/haproxy.cfg -f "$run/backends.cfg")
    "$haproxy" -c "${files[@]}" >"$run/haproxy-check.log" 2>&1 || {
        cat "$run/haproxy-check.log" >&2
        return 1
    }
    start haproxy "$haproxy" -db "${files[@]}"
    wait_for haproxy "listening on $https" accepts "$https" &&
        wait_for haproxy "listening on $http" accepts "$http" &&
        wait_for haproxy "seeing the agent" \
            curl -fs --noproxy '*' "http://$stats/healthz"
}

start_redis && start_sim && start_agent && start_haproxy || {
    show_logs
    stop_all
    fail "the stack did not start; logs are in $run/"
}
say "up: https://localhost:${https##*:} http://$http agent http://$agent_http" \
    "simulator http://$sim redis $redis"
say "    HAProxy $("$haproxy" -v | grep -oE '[0-9]+\.[0-9.]+' | head -n 1)," \
    "$config, logs in $run/, CA $run/tls/ca.pem"
