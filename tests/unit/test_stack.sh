#!/usr/bin/env bash
# The scripts behind make up and make down: they end what they started and
# nothing else, and they see who has a port.
set -u
cd "$(dirname "$0")/../.." || exit 1
GATEWAY_RUN=$(mktemp -d)
export GATEWAY_RUN
. tests/stack/lib.sh
programs="one two"
passed=0 failed=0
bystander=''
trap 'kill $bystander 2>/dev/null; stop one; stop two; rm -rf "$run"' EXIT

check() { # NAME EXPECTED ACTUAL
    if [ "$2" = "$3" ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf '%s: expected "%s", found "%s"\n' "$1" "$2" "$3"
    fi
}

alive() { kill -0 "$1" 2>/dev/null && echo yes || echo no; }

start one sleep 1000
pid=$(pid_of one)
check "what was started runs" yes "$(alive "$pid")"
check "and is named" "one (pid $pid) " "$(any_running)"
stop one
check "stop waits for the end" no "$(alive "$pid")"
check "and forgets the pid" no "$([ -e "$run/one.pid" ] && echo yes || echo no)"
check "nothing is left" "" "$(any_running)"

# The pid of a program that ended may be given to any other.
sleep 1000 &
bystander=$!
disown $bystander
echo "$bystander 1" >"$run/two.pid"
check "another program's pid is not ours" "" "$(any_running)"
stop two
check "attack: a reused pid is not killed" yes "$(alive $bystander)"
echo "$bystander" >"$run/two.pid"
stop two
check "attack: a pid without start time is not killed" yes "$(alive $bystander)"
echo "-1 -1" >"$run/two.pid"
stop two
check "attack: a pid file that names everybody" yes "$(alive $bystander)"

start one bash -c 'echo ready; exec sleep 1000'
wait_for one "ready" grep -q ready "$run/one.log"
check "a program that says ready is waited for" 0 $?
stop one

start two bash -c 'exit 3'
check "waiting ends when the program does" \
    "error: two ended before the moon" \
    "$(wait_for two "the moon" false 2>&1)"

start one socat TCP-LISTEN:0,bind=127.0.0.1 -
port_of() { # NAME: where it listens, in hex, from its sockets
    find "/proc/$(pid_of "$1")/fd" -lname 'socket:*' -printf '%l\n' |
        tr -dc '0-9\n' | awk '
            NR == FNR { ours[$1] = 1; next }
            $4 == "0A" && ours[$10] { split($2, a, ":"); print a[2]; found = 1 }
            END { exit !found }' - /proc/net/tcp
}
wait_for one "its port" port_of one
port=$((16#$(port_of one)))
check "who has a port is named" "socat (pid $(pid_of one))" \
    "$(port_user tcp "127.0.0.1:$port")"
stop one
check "a free port has no user" "" "$(port_user tcp "127.0.0.1:$port")"

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
