#!/usr/bin/env bash
# Load test with vegeta. Three set-ups run at the same time and take turns, in
# front of one simulator, each with one HAProxy thread:
#
#   plain     HAProxy forwards, nothing else
#   null      the gateway's HAProxy with an agent that allows everything
#   gateway   all of it: Entra token, limits in Redis, usage records
#
#   tests/load/bench.sh
#
# ROUNDS=5 WORKERS=32 TIME=4 (seconds of one attack), STREAMS=64 EVENTS=100
# INTERVAL=20 (ms). The table goes to standard output.
CONFIG=tests/load/bench.json
. "$(dirname "$0")/../stack/lib.sh"
run=$PWD/build/bench
programs="redis sim origin agent null haproxy haproxy-null haproxy-plain"
plain=127.0.0.1:18080
null_spop=127.0.0.1:18101
null_http=127.0.0.1:18081
null_https=127.0.0.1:18443
null_stats=127.0.0.1:18404
origin=127.0.0.1:18090
events=${EVENTS:-100}
interval=${INTERVAL:-20}
vegeta_version=v12.12.0

# vegeta needs Go 1.22, which Debian 12 does not have.
get_vegeta() {
    vegeta=$PWD/build/bin/vegeta
    [ ! -x "$vegeta" ] || return 0
    local go
    go=$(command -v go || echo /usr/local/go/bin/go)
    say "bench: installing vegeta $vegeta_version" >&2
    mkdir -p build/bin
    GOBIN=$PWD/build/bin "$go" install \
        github.com/tsenart/vegeta/v12@$vegeta_version >"$run/vegeta.log" 2>&1 ||
        { cat "$run/vegeta.log" >&2
        fail "vegeta could not be installed: $("$go" version 2>&1); it needs" \
            "Go 1.22 or later, or a vegeta in build/bin/"; }
}

end() {
    local name
    for name in haproxy-plain haproxy-null haproxy null agent origin sim redis; do
        stop "$name"
    done
}

trouble() {
    show_logs
    fail "$*"
}

start_haproxies() {
    export GATEWAY_CERT=$run/tls/gateway.pem GATEWAY_NOREUSEPORT=1
    export GATEWAY_LUA=$PWD/lua/usage.lua
    export GATEWAY_SPOE=$PWD/haproxy-conf/spoe-gateway.conf
    export BENCH_PLAIN=$plain BENCH_SIM=$sim BENCH_STREAMS=$origin
    local gateway=(-f tests/load/one-thread.cfg -f haproxy-conf/haproxy.cfg
        -f "$run/backends.cfg")
    make_certificates || return 1
    start haproxy-plain "$haproxy" -db -f tests/load/plain.cfg
    # Its usage records go to the discard port, where nothing listens.
    GATEWAY_HTTP=$null_http GATEWAY_HTTPS=$null_https GATEWAY_USAGE=127.0.0.1:9 \
        GATEWAY_SPOP=$null_spop GATEWAY_STATS=$null_stats \
        start haproxy-null "$haproxy" -db "${gateway[@]}"
    GATEWAY_HTTP=$http GATEWAY_HTTPS=$https GATEWAY_USAGE=$usage \
        GATEWAY_SPOP=$spop GATEWAY_STATS=$stats \
        start haproxy "$haproxy" -db "${gateway[@]}"
    wait_for haproxy-plain "listening on $plain" accepts "$plain" &&
        wait_for haproxy-null "listening on $null_http" accepts "$null_http" &&
        wait_for haproxy "listening on $http" accepts "$http"
}

start_all() {
    start redis redis-server --bind "${redis%:*}" --port "${redis##*:}" \
        --dir "$run" --save '' --appendonly no
    start sim build/foundry-sim --listen "$sim"
    wait_for sim "listening on $sim" grep -q '^listening on' "$run/sim.log" ||
        return 1
    start origin build/streams origin "$origin" "$events" "$interval"
    wait_for origin "listening" grep -q '^listening on' "$run/origin.log" ||
        return 1
    "${agent[@]}" render-haproxy "$config" >"$run/backends.cfg" || return 1
    start agent "${agent[@]}" run "$config"
    start null build/null-agent "$null_spop" r.sim "$sim"
    wait_for agent "ready" \
        curl -fs --noproxy '*' "http://$agent_http/readyz" || return 1
    start_haproxies
}

control() { # PATH JSON
    curl -fsS --noproxy '*' -o "$run/control.answer" --data "$2" \
        -H 'Content-Type: application/json' "http://$sim/control/$1"
}

path=/openai/v1/chat/completions

targets() { # NAME ADDRESS: what vegeta sends
    cat >"$run/$1.targets" <<-END
	POST http://$2$path
	Authorization: Bearer $token
	Content-Type: application/json
	@$run/body.json

	END
}

# The raw request of a stream; the model names the origin that stamps events.
stream_request() { # NAME
    local body='{"model":"bench-streams","stream":true,"max_tokens":200,'
    body+='"stream_options":{"include_usage":true},'
    body+='"messages":[{"role":"user","content":"count"}]}'
    printf '%s\r\n' "POST $path HTTP/1.1" \
        "Host: localhost" "Authorization: Bearer $token" "x-bench-streams: 1" \
        "Content-Type: application/json" "Content-Length: ${#body}" \
        "Connection: close" "" >"$run/$1.stream"
    printf '%s' "$body" >>"$run/$1.stream"
}

describe() {
    jq -n --arg run "$run" --arg vegeta "$vegeta" \
        --arg streams "$PWD/build/streams" --arg plain "$plain" \
        --arg gateway "$http" \
        --argjson rounds "${ROUNDS:-5}" --argjson workers "${WORKERS:-32}" \
        --argjson seconds "${TIME:-4}" --argjson n_streams "${STREAMS:-64}" \
        --argjson n_events "$events" \
        --argjson interval_ms "$interval" \
        --argjson p "$(pid_of haproxy-plain)" \
        --argjson n "$(pid_of haproxy-null)" --argjson na "$(pid_of null)" \
        --argjson g "$(pid_of haproxy)" --argjson ga "$(pid_of agent)" \
        --argjson r "$(pid_of redis)" '
        {$vegeta, $streams, $rounds, $workers, $seconds, $n_streams,
         $n_events, $interval_ms, setups: [
          {name: "plain", targets: "\($run)/plain.targets", address: $plain,
           stream_request: "\($run)/bench.stream", pids: {haproxy: $p}},
          {name: "null", targets: "\($run)/null.targets",
           pids: {haproxy: $n, agent: $na}},
          {name: "gateway", targets: "\($run)/gateway.targets",
           address: $gateway, stream_request: "\($run)/bench.stream",
           pids: {haproxy: $g, agent: $ga, redis: $r}}]}' >"$run/run.json"
}

running=$(any_running)
[ -z "$running" ] || fail "a bench is running: $running"
check_ports || fail "the bench cannot start"
mkdir -p "$run"
rm -f "$run"/*.log
get_vegeta
trap end EXIT
trap 'exit 130' INT TERM
start_all || trouble "the bench did not start"

# The simulator records nothing and checks no credential, so that its own work
# does not change the result.
control record '{"on":false}' || trouble "the simulator does not obey"
control defaults '{"auth":false,"tokens":40}' ||
    trouble "the simulator does not obey"
token=$(tests/stack/token.sh) || trouble "no token"
printf '%s' '{"model":"gpt-4o","max_tokens":100,"messages":[{"role":"system",' \
    '"content":"You are a load test."},{"role":"user","content":"'"$(
    head -c 1500 </dev/zero | tr '\0' x)"'"}]}' >"$run/body.json"
targets plain "$plain"
targets null "$null_http"
targets gateway "$http"
stream_request bench
describe

say "$("$haproxy" -v | head -n 1 | cut -d' ' -f1-3)," \
    "$(nproc) x $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)"
say "body $(stat -c %s "$run/body.json") bytes, ${WORKERS:-32} clients," \
    "${ROUNDS:-5} rounds of ${TIME:-4} s, medians"
python3 tests/load/measure.py "$run/run.json" || trouble "requests failed"
