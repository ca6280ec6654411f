#!/bin/sh
# The simulator's own tests, against build/foundry-sim or $SIM.
set -eu
cd "$(dirname "$0")/../.."
SIM=${SIM:-build/foundry-sim}
[ -x "$SIM" ] || make -s "$SIM"
SIM=$(realpath "$SIM") exec python3 tests/unit/test_sim.py
