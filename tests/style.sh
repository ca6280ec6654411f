#!/usr/bin/env bash
# The rules of the code that a machine can check and clang-format does not.
set -u
cd "$(dirname "$0")/.." || exit 1
bad=0

complain() { # TITLE LINES
    [ -n "$2" ] || return 0
    printf '%s:\n%s\n' "$1" "$2"
    bad=1
}

c_files=$(find spoa tests -name '*.[ch]')
scripts=$(find tests .ci -name '*.sh'; ls tests/summary .ci/run 2>/dev/null)

# Words in comments are no calls, so a call needs its opening bracket.
complain "banned functions" "$(grep -nE \
    '\b(strcpy|strcat|sprintf|vsprintf|strncpy|strncat|strtok|atoi|atol|atof|strtol|gets|alloca)\(' \
    $c_files)"
complain "longer than 1000 lines" "$(wc -l $c_files |
    awk '$1 > 1000 && $2 != "total"')"
complain "space at the end of a line" "$(grep -nE '[[:space:]]+$' \
    $c_files $scripts Makefile)"
complain "left for later" "$(grep -nE '\b(TODO|FIXME|XXX)\b' $c_files)"

# Each library behind one door, which may have more than one leaf.
door() { # HEADER-PATTERN FILE-PATTERN
    complain "<$1> included outside $2" "$(grep -lE "#include <($1)" \
        $(find spoa -name '*.[ch]') | grep -vE "^($2)$")"
}
door 'ev\.h' 'spoa/base/loop\.[ch]'
door 'cjson/' 'spoa/base/json\.[ch]'
door 'hiredis/' 'spoa/store/redis[a-z_]*\.[ch]'
door 'jwt\.h' 'spoa/keys/jose\.c'
door 'openssl/' 'spoa/(keys/jose|store/redis)[a-z_]*\.[ch]'
door 'curl/' 'spoa/net/fetch\.c'
door 'microhttpd' 'spoa/net/http\.c'

# The errors that callers get have one author, whose texts are those of
# decide/verdict. (What HAProxy says by itself is in haproxy.cfg.)
complain "the body of an error outside spoa/decide/answer.c" "$(grep -nF \
    '\"error\"' $(find spoa -name '*.[ch]' ! -path spoa/decide/answer.c))"

# The folders of spoa/ from the lowest to the highest: a file includes from its
# own folder and from those before it. main.c is above them all.
layers="base spop api conf net keys store upstream usage request decide agent
    commands"

layer_of() { # FOLDER: its height, 1 is the lowest
    local height=0 folder
    for folder in $layers; do
        height=$((height + 1))
        [ "$folder" = "$1" ] && echo $height
    done
}

# One spelling, so that no include is missed below: in one line, files of spoa/
# in quotes and with their folder.
complain "not '#include \"FOLDER/FILE.h\"' or '#include <FILE>'" \
    "$(grep -nE '^[[:space:]]*(#|%:).*(include|import)|#[[:space:]]*\\$' \
    $(find spoa -name '*.[ch]') | grep -vE \
    ':#include ("[a-z]+/[a-z0-9_]+\.h"|<[A-Za-z0-9_/.-]+>)( /\*.*)?$|__has_include')"

upward=''
for folder in $(find spoa -mindepth 1 -maxdepth 1 -type d -printf '%f\n'); do
    own=$(layer_of "$folder")
    [ -n "$own" ] || upward+="spoa/$folder is not in the list of layers"$'\n'
    while read -r file included; do
        theirs=$(layer_of "${included%%/*}")
        [ -n "$theirs" ] && [ "$theirs" -le "${own:-0}" ] ||
            upward+="$file includes $included"$'\n'
    done < <(grep -roE --include='*.[ch]' '^#include "[^"]+"' "spoa/$folder" |
        sed -E 's/:#include "(.*)"/ \1/')
    # the compiler also finds spoa/FOLDER/FILE.h in <>
    while read -r file included; do
        [ ! -e "spoa/$included" ] || upward+="$file includes <$included>"$'\n'
    done < <(grep -roE --include='*.[ch]' '^#include <[^>]+>' "spoa/$folder" |
        sed -E 's/:#include <(.*)>/ \1/')
done
complain "includes that go up (layers, lowest first: ${layers//$'\n'/})" \
    "${upward%$'\n'}"

# The static functions of a file begin with a prefix of its own, so that perf,
# gdb and a stack trace name the file: "FILE FUNCTION" for each of them.
statics() {
    find spoa -name '*.c' | sort | while read -r file; do
        # a long return type may stand on a line of its own
        sed -zE 's/__attribute__\(\([^\n]*\)\)//g; s/\ninline static /\nstatic /g
            s/(\nstatic [^;{}()=\n]*)\n/\1 /g' "$file" |
            sed -nE "s|^static [^=;(]*[ *]([A-Za-z0-9_]+) *\\(.*|$file \\1|p"
    done | sort -u
}
# "FILE PREFIX"; a name without '_' is its own.
prefixes=$(statics | sed -E 's/ ([A-Za-z0-9]+_?).*/ \1/' | sort -u)

complain "static functions of two files with one prefix" "$(awk '
        { files[$2] = files[$2] " " $1; n[$2]++ }
        END { for (p in n) if (n[p] > 1) print p ":" files[p] }' \
    <<<"$prefixes" | sort)"
complain "static functions of one file with several prefixes" "$(awk '
        { prefixes[$1] = prefixes[$1] " " $2; n[$1]++ }
        END { for (f in n) if (n[f] > 1) print f ":" prefixes[f] }' \
    <<<"$prefixes" | sort)"
complain "static functions with the name of another module" "$(awk '
        { module = prefix = $2; sub(/.*\//, "", module); sub(/\.[ch]$/, "", module)
          sub(/_$/, "", prefix) }
        $1 == "file" { at[module] = at[module] " " $2; next }
        { own = $1; sub(/.*\//, "", own); sub(/\.c$/, "", own) }
        own != prefix && prefix in at { print $1 ": " $2 " is of" at[prefix] }' \
    <(find spoa -name '*.[ch]' -printf 'file %p\n') - <<<"$prefixes" | sort)"

# The page of each folder is how a stranger gets from a name to its file: a row
# for each file, with the prefix of its static functions.
rows=$(grep -E '^\| .*`' spoa/*/README.md | sed -E 's/README\.md://')
row_of() { # FILE: its row in the table of its folder
    local name=${1##*/}
    name="${1%/*}/"'\| .*`'"${name%.*}"'(\.[ch])?`[^|]* \|'
    [[ $'\n'$rows =~ $'\n'($name[^$'\n']*) ]] && echo "${BASH_REMATCH[1]}"
}
complain "files without a row in the README of their folder" "$(
    for file in $(find spoa -mindepth 2 -name '*.[ch]'); do
        [ "${file%.c}" = "$file" ] && [ -e "${file%.h}.c" ] && continue
        row_of "$file" >/dev/null || echo "$file"
    done)"
complain "prefixes that differ from the README of the folder" "$(
    while read -r file prefix; do
        [[ $(row_of "$file") = *"\`$prefix\`"* ]] || echo "$file: $prefix"
    done <<<"$prefixes")"

# What has a name with '_' in these pages is in the code, in drawings as well.
names=$(grep -ohE '\b[A-Za-z_][A-Za-z0-9_]+' $(find spoa lua haproxy-conf tests \
    -name '*.[ch]' -o -name '*.lua' -o -name '*.cfg' -o -name '*.conf') | sort -u)
complain "names in a README that are not in the code" "$(
    for page in $(find spoa -name '*.md'); do
        sed 's/[a-z_]*{[^}]*}[a-z_]*//g' "$page" | grep -oE '\b[a-z0-9]+_[a-z0-9_]*[a-z0-9]\b' |
            sort -u | comm -23 - <(printf '%s\n' "$names") |
            grep -vE '^(test|fuzz)_' | sed "s|^|$page: |"
    done)"

for script in $scripts; do
    complain "$script" "$(bash -n "$script" 2>&1)"
done
for lua in $(find lua tests spoa -name '*.lua'); do
    for luac in luac5.3 luac5.4; do
        command -v $luac >/dev/null || continue
        complain "$lua ($luac)" "$($luac -p "$lua" 2>&1)"
    done
done
exit $bad
