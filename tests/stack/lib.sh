# shellcheck shell=bash
# Starting and stopping what the gateway is made of. Sourced, not run.
#
#   foundry-sim <--HTTP-- haproxy --SPOP--> foundry-spoa --> redis
#
# Each program NAME has $run/NAME.log and $run/NAME.pid. A pid file holds the
# pid and the start time of the process, so that a pid that was given to
# another program since is never taken for ours.

cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
run=${GATEWAY_RUN-build/run}
programs="redis sim agent haproxy"

haproxy=${HAPROXY:-$(command -v haproxy || echo /usr/sbin/haproxy)}
config=${CONFIG:-tests/fixtures/gateway.json}
# The agent, as words: the image test runs it in its container.
read -ra agent <<<"${AGENT:-build/foundry-spoa}"
https=127.0.0.1:8443
http=127.0.0.1:8080
stats=127.0.0.1:8404
spop=127.0.0.1:9101
agent_http=127.0.0.1:9102
usage=127.0.0.1:9103
sim=127.0.0.1:9443
redis=127.0.0.1:6390

say() { printf '%s\n' "$*"; }
title() { printf '\n== %s\n' "$*"; }

fail() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# ---- processes ------------------------------------------------------------
# Field 22 of /proc/PID/stat: clock ticks from boot to the start of PID. The
# name in field 2 may hold spaces, so everything up to its ')' goes first.
start_time() {
    local stat
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    # shellcheck disable=SC2086 # the fields are wanted as words
    set -- ${stat##*) }
    printf '%s\n' "${20}"
}

# The pid of NAME while it is running and ours.
pid_of() {
    local pid started now
    read -r pid started 2>/dev/null <"$run/$1.pid" || return 1
    now=$(start_time "$pid") && [ -n "$now" ] || return 1
    [ "$now" = "$started" ] || return 1
    # A zombie has ended.
    ! grep -q '^State:[[:space:]]*Z' "/proc/$pid/status" 2>/dev/null ||
        return 1
    printf '%s\n' "$pid"
}

start() { # NAME COMMAND...
    local name=$1 pid
    shift
    setsid "$@" </dev/null >"$run/$name.log" 2>&1 &
    pid=$!
    disown "$pid"
    echo "$pid $(start_time "$pid")" >"$run/$name.pid"
}

# Asks NAME to end, waits until it has, insists after ten seconds.
stop() {
    local pid tries=0
    if pid=$(pid_of "$1"); then
        kill -TERM "$pid" 2>/dev/null
        while pid_of "$1" >/dev/null; do
            tries=$((tries + 1))
            [ "$tries" -ne 200 ] || kill -KILL "$pid" 2>/dev/null
            [ "$tries" -lt 300 ] || return 1
            sleep 0.05
        done
    fi
    rm -f "$run/$1.pid"
}

stop_all() {
    local name
    for name in haproxy agent sim redis; do
        stop "$name" || say "error: $name does not end" >&2
    done
}

any_running() {
    local name pid
    for name in $programs; do
        if pid=$(pid_of "$name"); then
            printf '%s (pid %s) ' "$name" "$pid"
        fi
    done
}

show_logs() {
    local name
    for name in $programs; do
        [ -s "$run/$name.log" ] || continue
        printf -- '--- %s, last lines:\n' "$run/$name.log"
        tail -n 25 "$run/$name.log"
    done >&2
}

# ---- waiting --------------------------------------------------------------
# wait_for NAME WHAT COMMAND...: until COMMAND succeeds; gives up when the
# program NAME has ended, or after 15 seconds.
wait_for() {
    local name=$1 what=$2 tries=0
    shift 2
    until "$@" >/dev/null 2>&1; do
        if ! pid_of "$name" >/dev/null; then
            say "error: $name ended before $what" >&2
            return 1
        fi
        tries=$((tries + 1))
        if [ "$tries" -ge 300 ]; then
            say "error: waited 15 s for $name: $what" >&2
            return 1
        fi
        sleep 0.05
    done
}

accepts() { # HOST:PORT
    (exec 3<>"/dev/tcp/${1%:*}/${1##*:}")
}

# ---- ports ----------------------------------------------------------------
# Who has HOST:PORT open; nothing when it is free. HAProxy binds with
# SO_REUSEPORT, so a bind that succeeds proves nothing. /proc is read because
# a minimal Debian has no ss.
port_user() { # tcp|udp HOST:PORT
    local hex states inode link
    hex=$(printf '%04X' "${2##*:}")
    states=0A
    [ "$1" = tcp ] || states=07
    inode=$(awk -v port="$hex" -v state="$states" '
        $4 == state { n = split($2, a, ":"); if (a[n] == port) print $10 }
        ' "/proc/net/$1" "/proc/net/${1}6" 2>/dev/null | head -n 1)
    [ -n "$inode" ] || return 0
    link=$(find /proc/[0-9]*/fd -lname "socket:\[$inode\]" -print -quit \
        2>/dev/null)
    if [ -z "$link" ]; then
        echo "a process of another user"
        return
    fi
    link=${link#/proc/}
    printf '%s (pid %s)\n' "$(cat "/proc/${link%%/*}/comm" 2>/dev/null)" \
        "${link%%/*}"
}

check_ports() {
    local spec user taken=0
    for spec in tcp/$https tcp/$http tcp/$stats tcp/$spop \
        tcp/$agent_http udp/$usage tcp/$sim tcp/$redis; do
        user=$(port_user "${spec%%/*}" "${spec#*/}")
        [ -n "$user" ] || continue
        say "error: ${spec#*/} (${spec%%/*}) is taken by $user" >&2
        taken=1
    done
    [ "$taken" -eq 0 ]
}

# ---- certificates ---------------------------------------------------------
# A CA of our own and a certificate for localhost, made once.
make_certificates() {
    local dir=$run/tls
    [ ! -s "$dir/gateway.pem" ] || return 0
    mkdir -p "$dir"
    {
        openssl req -x509 -newkey rsa:2048 -nodes -days 30 \
            -subj "/CN=Gateway test CA" -keyout "$dir/ca.key" \
            -out "$dir/ca.pem" \
            -addext "basicConstraints=critical,CA:TRUE" \
            -addext "keyUsage=critical,keyCertSign,cRLSign" &&
            openssl req -newkey rsa:2048 -nodes -subj "/CN=localhost" \
                -keyout "$dir/gateway.key" -out "$dir/gateway.csr" &&
            openssl x509 -req -in "$dir/gateway.csr" -days 30 \
                -CA "$dir/ca.pem" -CAkey "$dir/ca.key" -CAcreateserial \
                -out "$dir/gateway.crt" -extfile <(
                    echo "subjectAltName=DNS:localhost,IP:127.0.0.1"
                    echo "extendedKeyUsage=serverAuth"
                    echo "subjectKeyIdentifier=hash"
                    echo "authorityKeyIdentifier=keyid"
                )
    } >"$dir/openssl.log" 2>&1 || {
        cat "$dir/openssl.log" >&2
        return 1
    }
    cat "$dir/gateway.crt" "$dir/gateway.key" >"$dir/gateway.pem"
    chmod 600 "$dir"/*.key "$dir/gateway.pem"
}
