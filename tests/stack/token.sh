#!/usr/bin/env bash
# Prints an access token of the running simulator. CLAIMS and HEADER (JSON)
# override or add, null removes; KEY=other signs with an unknown key.
. "$(dirname "$0")/lib.sh"

accepts "$sim" 2>/dev/null ||
    fail "no simulator on $sim; start the stack with make up"
SIM_URL=http://$sim exec tests/sim/token.sh
