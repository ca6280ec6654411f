#!/usr/bin/env bash
# The tests of the Redis store once more, on Valkey 8 from Debian.
set -u
cd "$(dirname "$0")/../.." || exit 1
passed=0 failed=0

PROGRAM=valkey-server tests/haproxy-versions.sh 8 ||
    exec tests/summary skip "no Valkey 8 could be had"
export REDIS_SERVER=$PWD/build/valkey-server/8/valkey-server
for test in scripts redis outage failover login lease model; do
    if "build/unit/test_store_$test"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
