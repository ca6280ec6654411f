#!/usr/bin/env bash
# Installs the Debian packages of the named groups that are not there yet.
#
#   deps.sh build run test bench image
#
# Says what it installs; without root it says what is missing and fails. The
# names are the same on Debian 12 and 13.
set -eu

packages() {
    case $1 in
    build) echo gcc make libc6-dev pkg-config libev-dev libcjson-dev \
        libhiredis-dev libjwt-dev libssl-dev libcurl4-openssl-dev \
        libmicrohttpd-dev ;;
    run) echo haproxy redis-server redis-tools openssl curl jq \
        ca-certificates ;;
    test) echo clang libclang-rt-dev clang-format clang-tidy cppcheck \
        libcmocka-dev lua5.3 lua5.4 python3 python3-venv socat iproute2 ;;
    bench) echo python3
        command -v go /usr/local/go/bin/go >/dev/null || echo golang-go ;;
    image) command -v docker >/dev/null || echo docker.io
        command -v dockerd >/dev/null || echo docker.io
        echo debootstrap ;;
    *) echo "deps.sh: unknown group $1" >&2 && exit 2 ;;
    esac
}

command -v apt-get >/dev/null || {
    echo "deps: no apt-get here; the packages are named in $0" >&2
    exit 0
}

missing=()
for group in "$@"; do
    for package in $(packages "$group"); do
        state=$(dpkg-query -W -f='${db:Status-Status}' "$package" \
            2>/dev/null || true)
        [ "$state" = installed ] || missing+=("$package")
    done
done
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" -ne 0 ]; then
    echo "deps: these packages are missing and only root can install them:" >&2
    echo "    apt-get install ${missing[*]}" >&2
    exit 1
fi

echo "deps: installing ${missing[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# RUNLEVEL=1: the daemons of these packages are not wanted as system services.
if ! { apt-get -q update && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
    apt-get -qy install --no-install-recommends "${missing[@]}"; } \
    >"$log" 2>&1 </dev/null; then
    cat "$log" >&2
    echo "deps: apt-get failed, see above" >&2
    exit 1
fi
