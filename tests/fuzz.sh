#!/usr/bin/env bash
# Fuzzes one target for some seconds: fuzz.sh build/fuzz/fuzz_NAME SECONDS.
# Starts from tests/fuzz/seeds/NAME and what earlier runs found; a crash leaves
# its input in build/fuzz/crash-*.
set -eu
target=$1 seconds=$2
name=$(basename "$target")
name=${name#fuzz_}
corpus=build/fuzz/corpus/$name
seeds=tests/fuzz/seeds/$name
mkdir -p "$corpus"

args=(-max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048
    -artifact_prefix="build/fuzz/$name-" -print_final_stats=1)
[ ! -f "tests/fuzz/$name.dict" ] || args+=(-dict="tests/fuzz/$name.dict")
[ ! -d "$seeds" ] || corpus="$corpus $seeds"
# shellcheck disable=SC2086 # two folders
exec "$target" "${args[@]}" $corpus
