#!/usr/bin/env bash
# Builds the container image, runs it read-only beside HAProxy, Redis and the
# simulator, and sends one request through it.
#
# Uses the Docker that runs here. Where none does and we are root, a private
# dockerd is started on a folder of its own, with a base image made by
# debootstrap, and stopped again; in CI Docker is installed for it. Without
# either nothing is tested, and that is said loudly.
. "$(dirname "$0")/../stack/lib.sh"
export GATEWAY_RUN=build/run-image
run=$GATEWAY_RUN
base=${BASE:-debian:trixie-slim}
image=${IMAGE:-foundry-gateway}
container=foundry-gateway-test-$$
private='' dockerd=''

# 78: cannot be tried on this machine (see tests/summary).
skip() {
    say "NOT TRIED: $*"
    exit 78
}

cleanup() {
    docker rm -f "$container" >/dev/null 2>&1
    tests/stack/down.sh -q
    if [ -n "$dockerd" ]; then
        kill "$dockerd" 2>/dev/null
        wait "$dockerd" 2>/dev/null
        # Containers in the host's network leave this mounted.
        umount "$private"/exec/netns/* 2>/dev/null
    fi
    [ -z "$private" ] || rm -rf "$private"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

docker_answers() { docker version >/dev/null 2>&1; }

start_dockerd() {
    [ "$(id -u)" -eq 0 ] || skip "no Docker runs here and only root can" \
        "start one"
    [ -z "${CI-}" ] || tests/stack/deps.sh image ||
        skip "Docker cannot be installed"
    command -v docker dockerd debootstrap >/dev/null ||
        skip "needs docker, dockerd and debootstrap"
    private=$(mktemp -d /var/tmp/gateway-docker.XXXXXX)
    export DOCKER_HOST=unix://$private/docker.sock DOCKER_CONFIG=$private/cli
    # No bridge: neither iptables nor a network of its own is needed.
    dockerd --iptables=false --ip6tables=false --bridge=none \
        --data-root "$private/data" --exec-root "$private/exec" \
        --pidfile "$private/pid" -H "$DOCKER_HOST" \
        >"$private/log" 2>&1 </dev/null &
    dockerd=$!
    local tries=0
    until docker_answers; do
        tries=$((tries + 1))
        if ! kill -0 "$dockerd" 2>/dev/null || [ $tries -ge 300 ]; then
            tail -n 20 "$private/log"
            skip "dockerd does not run here"
        fi
        sleep 0.1
    done
}

# debian:trixie-slim as near as debootstrap comes to it.
import_base() {
    local suite=${base#*:}
    suite=${suite%-slim}
    docker image inspect "$base" >/dev/null 2>&1 && return
    mkdir -p build/image
    if [ ! -s "build/image/$suite.tar" ]; then
        say "image: debootstrap $suite"
        debootstrap --variant=minbase "$suite" "$private/root" \
            >"$private/debootstrap.log" 2>&1 || {
            tail -n 20 "$private/debootstrap.log"
            skip "no base image could be made"
        }
        # As published images have it, so that fixes are seen.
        cat >"$private/root/etc/apt/sources.list" <<-END
		deb http://deb.debian.org/debian $suite main
		deb http://deb.debian.org/debian $suite-updates main
		deb http://deb.debian.org/debian-security $suite-security main
		END
        tar -C "$private/root" -cf "build/image/$suite.tar.new" . &&
            mv "build/image/$suite.tar.new" "build/image/$suite.tar"
    fi
    docker import "build/image/$suite.tar" "$base" >/dev/null ||
        fail "docker import failed"
}

docker_answers || start_dockerd
[ -z "$dockerd" ] || import_base

mkdir -p "$run"
docker build --network host --build-arg BASE="$base" -t "$image" . \
    >"$run/build.log" 2>&1 || {
    tail -n 40 "$run/build.log"
    fail "docker build failed"
}
say "image: built, $(docker image inspect -f '{{.Size}}' "$image" |
    awk '{ printf "%d MB", $1 / 1e6 }')"

# ---- what must hold of the image itself ------------------------------------
inside() { docker run --rm --network host --read-only --entrypoint sh \
    "$image" -c "$1"; }
inside 'command -v gcc cc make' && fail "there is a compiler in the image"
[ "$(inside 'id -u')" != 0 ] || fail "the image runs as root"
docker run --rm --network host --read-only "$image" -V ||
    fail "foundry-spoa -V does not work in the image"

# ---- beside HAProxy ---------------------------------------------------------
# The same stack as make up, only that the agent is the container.
# It cannot write, so it has no unix socket here.
fixtures=$(realpath "$run")/config
mkdir -p "$fixtures"
sed 's|"unix:[^"]*", *||' "$config" >"$fixtures/gateway.json"
export CONFIG=$fixtures/gateway.json
export AGENT="docker run --rm --name $container --network host --read-only
    --cap-drop ALL --security-opt no-new-privileges
    -v $fixtures:$fixtures:ro -w $PWD $image"
AGENT=${AGENT//$'\n'/ }
tests/stack/up.sh || fail "the stack with the container did not start"
tests/stack/request.sh || fail "no request went through the container"

healthy() {
    [ "$(docker inspect -f '{{.State.Health.Status}}' "$container")" = healthy ]
}
wait_for agent "healthy in docker's eyes" healthy || {
    docker inspect -f '{{json .State.Health}}' "$container"
    fail "the health check of the image does not pass"
}

out=$(realpath "$run")/exported
rm -rf "$out" && mkdir -p "$out" && chmod 777 "$out"
docker run --rm --network host --read-only --entrypoint export-haproxy \
    -v "$fixtures:/etc/foundry-gateway:ro" -v "$out:/out" "$image" /out ||
    fail "export-haproxy failed"
for file in haproxy.cfg backends.cfg spoe-gateway.conf usage.lua edits.lua blocked.lua \
    realtime.lua; do
    [ -s "$out/$file" ] || fail "export-haproxy wrote no $file"
done
say "image: works read-only, without capabilities, as $(inside 'id -un')"
