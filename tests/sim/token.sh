#!/bin/sh
# Prints an access token of the running simulator.
#   CLAIMS='{"appid":"..."}'  overrides or adds claims; null removes one
#   HEADER='{"alg":"none"}'   likewise
#   KEY=other                 a key that is in no JWKS, or a kid
#   VERSION=2.0               default 1.0
#   SIM_URL                   default http://127.0.0.1:9443
set -eu
body=$(printf '{"claims":%s,"header":%s,"key":"%s","version":"%s"}' \
	"${CLAIMS:-{\}}" "${HEADER:-{\}}" "${KEY:-current}" "${VERSION:-1.0}")
curl -sS --fail-with-body --noproxy '*' -X POST \
	-H 'Content-Type: application/json' --data-binary "$body" \
	"${SIM_URL:-http://127.0.0.1:9443}/control/token"
echo
