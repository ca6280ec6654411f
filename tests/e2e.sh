#!/usr/bin/env bash
# Runs tests/e2e on the installed HAProxy and on 2.6, 3.0 and 3.2, each
# version once, and once more with the agent under the sanitizers (what they
# report fails the test that stops the agent). What limits count is tried on
# Valkey, too. HAPROXY=path runs it on that HAProxy only; PYTEST adds arguments,
# and leaves Valkey out.
set -u
cd "$(dirname "$0")/.." || exit 1

version_of() { "$1" -v 2>/dev/null | grep -oE '[0-9]+\.[0-9]+' | head -n 1; }

binaries=()
if [ -n "${HAPROXY-}" ]; then
    binaries=("$HAPROXY")
else
    log=build/haproxy/versions.log
    mkdir -p build/haproxy
    tests/haproxy-versions.sh >"$log" 2>&1 || sed 's/^/    | /' "$log"
    installed=$(command -v haproxy || echo /usr/sbin/haproxy)
    seen=' '
    for binary in "$installed" build/haproxy/{2.6,3.0,3.2}/haproxy; do
        version=$(version_of "$binary")
        case $seen in *" $version "*) continue ;; esac
        [ -n "$version" ] || continue
        seen="$seen$version "
        binaries+=("$binary")
    done
    for version in 2.6 3.0 3.2; do
        case $seen in *" $version "*) continue ;; esac
        tests/summary run e2e "haproxy-$version" tests/summary skip \
            "no HAProxy $version could be had, see $log"
    done
fi

# In a network of its own a run cannot meet the ports of another one, so several
# can share the machine: they wait more than they work. That needs the right to
# make one; otherwise they come one after the other.
alone=()
at_once=1
if unshare -n ip link set lo up 2>/dev/null; then
    # shellcheck disable=SC2016 # the inner shell's arguments
    alone=(unshare -n sh -c 'ip link set lo up && exec "$@"' sh)
    at_once=$(nproc)
fi

# NAME BINARY [FILE]: AGENT and REDIS_SERVER in the environment choose theirs
run_tests() {
    HAPROXY=$(realpath "$2") tests/summary run e2e "$1" "${alone[@]}" \
        build/venv/bin/python -m pytest -q -p no:cacheprovider \
        ${PYTEST-} "${3-tests/e2e}" >"build/results/e2e/$1.out" 2>&1
    cat "build/results/e2e/$1.out"
}

start_tests() { # as run_tests, as soon as there is room
    while [ "$(jobs -rp | wc -l)" -ge $at_once ]; do
        wait -n
    done
    run_tests "$@" &
}

mkdir -p build/results/e2e
sanitized=$PWD/build/san/foundry-spoa
make --no-print-directory SAN=address,undefined build/san/foundry-spoa ||
    sanitized=''

# The sanitized one takes longest.
if [ -n "$sanitized" ]; then
    AGENT=$sanitized ASAN_OPTIONS=detect_leaks=1 \
        UBSAN_OPTIONS=print_stacktrace=1 start_tests \
        "haproxy-$(version_of "${binaries[0]}")-sanitized" "${binaries[0]}"
else
    tests/summary broken e2e
fi
for binary in "${binaries[@]}"; do
    start_tests "haproxy-$(version_of "$binary")" "$binary"
done
if [ -n "${PYTEST-}" ]; then
    :
elif PROGRAM=valkey-server tests/haproxy-versions.sh 8; then
    REDIS_SERVER=$PWD/build/valkey-server/8/valkey-server \
        start_tests valkey "${binaries[0]}" tests/e2e/test_exact.py
else
    tests/summary run e2e valkey tests/summary skip "no Valkey 8 could be had"
fi
wait
