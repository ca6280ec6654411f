#!/usr/bin/env bash
# Measures how long `foundry-spoa report` takes for a month of requests, and
# checks that its sums are those of the lines. The ledger file is temporary.
#
#   tests/load/report.sh
#
# LINES=1000000, AGENT=build/foundry-spoa
set -euo pipefail
cd "$(dirname "$0")/../.."
lines=${LINES:-1000000}
agent=${AGENT:-build/foundry-spoa}
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT

# 40 consumers of 5 teams, 4 models, 30 days; tokens that differ line by line.
awk -v n="$lines" 'BEGIN {
    split("gpt-4o gpt-4o-mini claude-sonnet-4-5 text-embedding-3-small", models)
    for (i = 0; i < n; i++) {
        printf "{\"v\":1,\"time\":\"2026-11-%02dT%02d:%02d:%02d.%03dZ\",", \
            1 + i * 30 / n, i % 24, i % 60, i % 59, i % 1000
        printf "\"id\":\"%08x-2222-4333-8444-555555555555\",", i
        printf "\"consumer\":\"consumer-%d\",\"team\":\"team-%d\",", i % 40, i % 5
        printf "\"app\":\"22222222-2222-2222-2222-%012d\",\"agent\":\"\",", i % 40
        printf "\"project\":\"\",\"operation\":\"chat\",\"model\":\"%s\",", \
            models[1 + i % 4]
        printf "\"deployment\":\"%s\",\"resource\":\"east\",", models[1 + i % 4]
        printf "\"status\":200,\"termination\":\"--\",\"stream\":true,"
        printf "\"spilled\":false,\"estimated\":false,\"requests\":1,"
        printf "\"input\":%d,\"cached\":%d,", \
            1000 + i % 777, i % 512
        printf "\"output\":%d,\"reasoning\":%d,\"audio\":0,", i % 333, i % 100
        printf "\"nano_usd\":%d,\"bytes\":%d,\"events\":%d,", \
            i % 99999, i % 100000, i % 333
        printf "\"ttfb_ms\":%d,\"total_ms\":%d}\n", i % 900, i % 9000
    }
}' >"$folder/ledger.jsonl"

expected=$(awk -v n="$lines" 'BEGIN {
    for (i = 0; i < n; i++) { input += 1000 + i % 777; output += i % 333 }
    printf "%d %d %d", n, input, output }')
printf '%s lines, %s\n' "$lines" "$(du -h "$folder/ledger.jsonl" | cut -f1)"
for by in consumer consumer,model,day team; do
    start=$EPOCHREALTIME
    "$agent" report tests/fixtures/gateway.json --by "$by" \
        --ledger "$folder/ledger.jsonl" >"$folder/out"
    end=$EPOCHREALTIME
    # the columns of the total line behind its name
    found=$(awk '$1 == "total" { print $2, $5, $7 }' "$folder/out")
    printf -- '--by %-22s %6d rows  ' "$by" "$(($(wc -l <"$folder/out") - 2))"
    awk -v a="$start" -v b="$end" 'BEGIN { printf "%.2f s", b - a }'
    [ "$found" = "$expected" ] && echo '  sums right' ||
        { printf '  found %s, expected %s\n' "$found" "$expected"; exit 1; }
done
