#!/usr/bin/env bash
# tests/summary decides whether a test run passed, so it is tested itself: by
# commands that print what the test programs print.
set -u
cd "$(dirname "$0")/../.." || exit 1
summary=$PWD/tests/summary
# It works below its own repository, so it gets one.
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
mkdir "$tree/tests"
cp "$summary" "$tree/tests/summary"
unset CI
passed=0 failed=0

check() { # NAME EXPECTED ACTUAL
    if [ "$2" = "$3" ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf '%s: expected "%s", found "%s"\n' "$1" "$2" "$3"
    fi
}

# What `total` says of one command that prints TEXT and ends with RC, and the
# exit code of it.
counts() { # TEXT RC
    rm -rf "$tree/build"
    "$tree/tests/summary" run part name \
        bash -c 'printf "%b\n" "$1"; exit "$2"' - "$1" "$2" >"$tree/out" 2>&1
    local said
    said=$("$tree/tests/summary" total)
    echo "$said, exit $?"
}

check "a silent success is one test" \
    "1 passed, 0 failed, exit 0" "$(counts '' 0)"
check "a silent failure is one failure" \
    "0 passed, 1 failed, exit 1" "$(counts '' 1)"
check "counts of its own" \
    "7 passed, 0 failed, exit 0" "$(counts 'x\n7 passed, 0 failed' 0)"
check "all passed but the exit code says otherwise" \
    "7 passed, 1 failed, exit 1" "$(counts '7 passed, 0 failed' 3)"
check "nothing was run" \
    "0 passed, 1 failed, exit 1" "$(counts '0 passed, 0 failed' 0)"
check "cmocka, all passed" \
    "5 passed, 0 failed, exit 0" "$(counts '[  PASSED  ] 5 test(s).' 0)"
check "cmocka, two groups, one failure" "6 passed, 2 failed, exit 1" "$(counts \
    '[  PASSED  ] 5 test(s).\n[  PASSED  ] 1 test(s).\n[  FAILED  ] 2 test(s)' 2)"
check "cmocka 2 names the group" "28 passed, 4 failed, exit 1" "$(counts \
    '[  PASSED  ] 28 test(s).\n[  FAILED  ] spop: 4 test(s), listed below:' 4)"
check "cmocka crashed after a passing group" "5 passed, 1 failed, exit 1" \
    "$(counts '[  PASSED  ] 5 test(s).' 139)"
check "pytest, all passed" \
    "3 passed, 0 failed, exit 0" "$(counts '...\n3 passed in 0.12s' 0)"
check "pytest, failures and errors" "3 passed, 3 failed, exit 1" \
    "$(counts '1 failed, 3 passed, 2 errors in 9.99s' 1)"
check "a skip is no pass" \
    "0 passed, 0 failed, exit 0" "$(counts 'SKIPPED: no' 77)"
check "a skip is loud" 1 "$(grep -c '1 SKIPPED' "$tree/out")"
check "a skip fails in CI" \
    "0 passed, 1 failed, exit 1" "$(CI=1 counts 'SKIPPED: no' 77)"
check "a skipped test of pytest fails in CI" "3 passed, 1 failed, exit 1" \
    "$(CI=1 counts '3 passed, 1 skipped in 1s' 0)"
check "what a machine cannot do is no failure, not even in CI" \
    "0 passed, 0 failed, exit 0" "$(CI=1 counts 'NOT TRIED: no' 78)"
check "but is said" 1 "$(grep -c 'NOT TRIED: no' "$tree/out")"

rm -rf "$tree/build"
check "no part ran at all" "0 passed, 1 failed, exit 1" \
    "$("$tree/tests/summary" total), exit $?"
"$tree/tests/summary" run a x true >/dev/null
"$tree/tests/summary" run b y false >/dev/null
"$tree/tests/summary" broken c >/dev/null
check "parts add up" "1 passed, 2 failed" "$("$tree/tests/summary" total)"
check "one part alone" "1 passed, 0 failed" "$("$tree/tests/summary" total a)"

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
