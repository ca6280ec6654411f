#!/usr/bin/env bash
# Checks that the C files are as `make format` leaves them. Versions of
# clang-format differ in detail; the files are formatted by version 14 (Debian
# 12), so another one cannot tell.
set -u
cd "$(dirname "$0")/.." || exit 1
format=${CLANG_FORMAT:-clang-format}
version=$("$format" --version | grep -oE 'version [0-9]+') || {
    echo "$format does not run"
    exit 1
}
if [ "$version" != "version 14" ]; then
    echo "NOT TRIED: formatted by clang-format 14, here is $version"
    exit 78
fi
find spoa tests -name '*.[ch]' -print0 | xargs -0 "$format" --dry-run -Werror
