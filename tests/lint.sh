#!/usr/bin/env bash
# Static analysis of the agent: cppcheck, and clang-tidy with the checks of
# .clang-tidy. Prints what they find; a finding is a failure.
#
#   tests/lint.sh [FILE.c...]     (default: all of spoa/)
set -u
cd "$(dirname "$0")/.." || exit 1

for tool in cppcheck clang-tidy; do
    command -v $tool >/dev/null || {
        echo "$tool is not installed: make deps"
        exit 77
    }
done

files=("$@")
[ $# -gt 0 ] || mapfile -t files < <(find spoa -name '*.c' | sort)
flags=(-Ispoa -D_GNU_SOURCE)
bad=0

# Counted suppressions stand in the code (cppcheck-suppress), with the reason.
cppcheck --quiet --enable=warning,portability,performance --inline-suppr \
    --std=c11 --error-exitcode=1 -j "$(nproc)" "${flags[@]}" "${files[@]}" ||
    bad=1

# pkg-config's answer is a list of words.
# shellcheck disable=SC2207
flags+=($(pkg-config --cflags libcjson hiredis libjwt libcrypto libssl \
    libcurl libmicrohttpd))
# clang-tidy says "N warnings generated" of what it does not show on stderr.
export tidy_flags="-std=gnu11 ${flags[*]}"
tidy='clang-tidy --config-file=.clang-tidy'
# It ignores a name that it does not know, and a file that it cannot parse if it
# may look for that itself.
unknown=$(comm -23 <(sed -nE 's/^  ([a-z]+-[a-z-]+),?$/\1/p' .clang-tidy | sort) \
    <($tidy --list-checks | tr -d ' ' | sort))
[ -z "$unknown" ] || {
    printf 'not known to clang-tidy: %s\n' $unknown
    bad=1
}
# The status of xargs is not 0 when that of one clang-tidy is not.
printf '%s\n' "${files[@]}" | xargs -P "$(nproc)" -n 8 \
    sh -c "$tidy"' --quiet "$@" -- $tidy_flags 2>/dev/null' sh || bad=1
exit $bad
