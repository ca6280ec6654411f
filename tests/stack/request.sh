#!/usr/bin/env bash
# Sends one streamed chat request with an Entra token through the running
# stack, over HTTPS, and shows the answer and what the gateway decided, counted
# and kept of it.
. "$(dirname "$0")/lib.sh"

trouble() {
    show_logs
    fail "$*"
}

body='{"model":"gpt-4o","stream":true,"max_tokens":64,
  "stream_options":{"include_usage":true},
  "messages":[{"role":"user","content":"Say hello to the gateway."}]}'
token=$(tests/stack/token.sh) || trouble "no token from the simulator"

title "POST https://localhost:${https##*:}/openai/v1/chat/completions"
# No proxy, no ~/.curlrc: only our CA is trusted, and the name is checked.
curl -q --no-progress-meter --noproxy '*' --no-buffer --max-time 30 \
    --cacert "$run/tls/ca.pem" --resolve "localhost:${https##*:}:${https%:*}" \
    -D "$run/answer.headers" \
    -H @<(printf 'Authorization: Bearer %s\n' "$token") \
    -H 'Content-Type: application/json' --data "$body" \
    "https://localhost:${https##*:}/openai/v1/chat/completions" |
    tee "$run/answer"
[ "${PIPESTATUS[0]}" -eq 0 ] || trouble "the request failed"

status=$(awk 'NR == 1 { print $2 }' "$run/answer.headers")
[ "$status" = 200 ] || trouble "status $status, expected 200"
grep -q '^data: \[DONE\]' "$run/answer" || trouble "the stream has no end"
id=$(awk 'tolower($1) == "x-request-id:" { print $2 }' "$run/answer.headers" |
    tr -d '\r' | tail -n 1)
[ -n "$id" ] || trouble "the answer names no request id"
title "status $status, request id $id"

# The agent's lines about this request: one when it decided, one when HAProxy
# told it how the stream ended.
line_of() { grep -E " $1 " "$run/agent.log" | grep -F "$id" | tail -n 1; }
has_line() { [ -n "$(line_of "$1")" ]; }

wait_for agent "a decision about $id" has_line decision ||
    trouble "no decision line"
title "the decision"
line_of decision
wait_for agent "the usage of $id" has_line usage || trouble "no usage line"
title "the usage"
line_of usage

# Settled is what has been written to Redis, so Redis is asked. A field is one
# limit: 0:LEVEL:..:..:LIMIT for a minute, else KIND:PERIOD:USED.
redis() { redis-cli -h "${redis%:*}" -p "${redis##*:}" "$@"; }
title "the limits in Redis, settled"
redis --scan --pattern '*:limits' | sort | while read -r key; do
    say "$key"
    redis hgetall "$key" | paste - - | awk -F'[\t:]' '
        { name = $0; sub(/\t.*/, "", name); sub(/.*\t/, "")
          n = split($0, field, ":")
          if (n == 5) text = field[2] " left of " field[5]
          else text = field[3] " used in period " field[2]
          printf "    %-24s %-28s %s\n", name, $0, text }'
done
[ -n "$(redis --scan --pattern '*:limits')" ] ||
    trouble "Redis knows no limit"
# A settled reservation leaves a mark for a minute; any other is open.
redis --scan --pattern "*:r:$id" | while read -r key; do
    [[ $(redis hget "$key" n) == s:* ]] || say "$key: $(redis hgetall "$key")"
done
