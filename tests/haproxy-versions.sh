#!/bin/sh
# Make build/haproxy/{2.6,3.0,3.2}/haproxy runnable on Debian 12 or 13.
#
#   tests/haproxy-versions.sh [VERSION...]     (default: 2.6 3.0 3.2)
#
# The installed HAProxy serves its own version. The others come as .debs from
# Debian's mirror, checked by apt against Debian's keys, and are unpacked with
# all the libraries they need, the C library included: a wrapper runs each
# with its own ld.so, so a newer or older glibc than this machine's works, and
# nothing is installed. What is there already is left alone (delete the folder
# to fetch again). One line per version; exit status 1 when one is missing.
#
# PROGRAM=valkey-server with version 8 gets that one in the same way, as
# build/valkey-server/8/valkey-server.
#
# BUILD=dir          instead of build
# DEBIAN_MIRROR=url  instead of the mirror in this machine's apt sources
set -u
cd "$(dirname "$0")/.." || exit 1
program=${PROGRAM:-haproxy}
mkdir -p "${BUILD:-build}/$program" || exit 1
base=$(cd "${BUILD:-build}/$program" && pwd) || exit 1
keys=/usr/share/keyrings/debian-archive-keyring.gpg

fail() { # VERSION REASON...
	v=$1
	shift
	echo "$program $v: NOT AVAILABLE: $*" >&2
	return 1
}

version_of() { # prints 2.6.12 for a binary that runs, nothing otherwise
	"$1" -v 2>/dev/null | sed -n 's/^HAProxy version \([0-9.]*\).*/\1/p
		s/^Valkey server v=\([0-9.]*\).*/\1/p;1q'
}

suites_of() { # where Debian keeps that version
	case $1 in
	2.6) echo "bookworm bookworm-security" ;;
	3.0 | 8) echo "trixie trixie-security" ;;
	*) echo "sid" ;;
	esac
}

mirror() { # LABEL FALLBACK: the address this machine's apt uses
	url=$(apt-get indextargets --format '$(LABEL) $(REPO_URI)' 2>/dev/null |
		sed -n "s/^$1 //p;/^$1 /q" | head -n 1)
	echo "${url:-$2}"
}

sources() { # SUITES: sources.list for the private apt
	main=${DEBIAN_MIRROR:-$(mirror Debian http://deb.debian.org/debian)}
	main=${main%/}
	for suite in "$@"; do
		case $suite in
		*-security)
			url=$(mirror Debian-Security "$main-security")
			[ -n "${DEBIAN_MIRROR:-}" ] && url=$main-security
			;;
		*) url=$main ;;
		esac
		echo "deb [signed-by=$trusted] ${url%/} $suite main"
	done
}

# apt with lists, cache and package state of its own. The machine's apt.conf
# (a proxy, say) still applies: it is read before the options are.
private() { # COMMAND ARGS...
	cmd=$1
	shift
	"$cmd" -qq -o Dir::Etc="$apt/etc" -o Dir::State="$apt/state" \
		-o Dir::State::status="$apt/status" \
		-o Dir::Cache="$apt/cache" -o Dir::Log="$apt/log" \
		-o Dir::Etc::SourceList="$apt/etc/sources.list" \
		-o Dir::Etc::SourceParts=/dev/null \
		-o Dir::Etc::Preferences=/dev/null \
		-o Dir::Etc::PreferencesParts=/dev/null \
		-o Acquire::Languages=none \
		-o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false \
		-o Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false \
		-o Acquire::Retries=3 -o APT::Sandbox::User=root \
		-o APT::Install-Recommends=false "$@"
}

apt_init() { # SUITES
	rm -rf "$apt"
	mkdir -p "$apt/etc" "$apt/state/lists/partial" "$apt/log" \
		"$apt/cache/archives/partial" || return 1
	: >"$apt/status"
	sources "$@" >"$apt/etc/sources.list"
	private apt-get update >"$apt/update.log" 2>&1 || return 1
	! grep -q '^[EW]:' "$apt/update.log"
}

# sid is signed with the newest keys, which an old keyring package may lack.
# trixie's keyring package has them, and trixie itself is checked with the
# keys of this machine (an up-to-date Debian 12 has trixie's).
newer_keys() {
	trusted=$keys
	apt_init trixie || return 1
	(cd "$apt" && private apt-get download debian-archive-keyring) \
		>>"$apt/update.log" 2>&1 || return 1
	rm -rf "$work/keys"
	dpkg -x "$apt"/debian-archive-keyring_*.deb "$work/keys" || return 1
	for k in gpg pgp; do
		trusted=$work/keys/usr/share/keyrings/debian-archive-keyring.$k
		[ -e "$trusted" ] && return 0
	done
	return 1
}

# The packages to unpack: the program (valkey-server is a link into the tools)
# and every library below it. What else it depends on (adduser, init scripts)
# only matters to an installation.
packages() { # VERSION-STRING
	private apt-get -s install "$program=$1" |
		sed -n 's/^Inst \([^ ]*\) (\([^ ]*\) .*/\1=\2/p' |
		grep -E "^($program|valkey-tools|lib[^=]*)="
}

wrapper() { # writes what is run as the program
	ld=$(find "$1/root" -type f -name 'ld-*.so*' | head -n 1)
	[ -n "$ld" ] || return 1
	libs=$(find "$1/root" -type f -name 'lib*.so*' \
		-path '*/lib/*-linux-gnu/*' ! -path '*/share/*' \
		! -path '*-linux-gnu/*/*' |
		sed 's|/[^/]*$||' | sort -u | paste -sd:)
	# --argv0: a reload of `haproxy -W` executes argv[0] again, and that
	# has to be this wrapper.
	bin=$(find "$1/root" -path "*bin/$program" | head -n 1)
	cat >"$1/$program" <<END
#!/bin/sh
exec '$ld' --inhibit-cache --argv0 '$1/$program' --library-path '$libs' \\
	'$bin' "\$@"
END
	chmod +x "$1/$program"
}

fetch() { # VERSION: from Debian into $base/VERSION
	work=$base/.work-$1-$$
	apt=$work/apt
	trusted=$keys
	mkdir -p "$work" || return 1
	# shellcheck disable=SC2046 # one word per suite is what is wanted
	apt_init $(suites_of "$1") || {
		newer_keys && apt_init $(suites_of "$1")
	} || {
		fail "$1" "apt could not read $(suites_of "$1"):" \
			"$(grep '^[EW]:' "$apt/update.log" | head -n 1)"
		return
	}
	full=$(private apt-cache madison "$program" |
		awk -v v="$1." 'index($3, v) == 1 { print $3; exit }')
	[ -n "$full" ] || {
		fail "$1" "$(suites_of "$1") has no $program $1"
		return
	}
	list=$(packages "$full")
	mkdir -p "$work/debs" "$work/root"
	# shellcheck disable=SC2086 # one word per package
	(cd "$work/debs" && private apt-get download $list) \
		>"$work/download.log" 2>&1 && [ -n "$list" ] || {
		fail "$1" "download failed:" \
			"$(grep '^E:' "$work/download.log" | head -n 1)"
		return
	}
	for deb in "$work"/debs/*.deb; do
		dpkg -x "$deb" "$work/root" || return 1
	done
	rm -rf "${base:?}/$1"
	mkdir "$base/$1" && mv "$work/root" "$base/$1/root" &&
		wrapper "$base/$1" || return 1
	rm -rf "$work"
}

ready() { # VERSION: runs and is what its folder says
	v=$(version_of "$base/$1/$program")
	case $v in
	"$1".*) echo "$program $1: $v $base/$1/$program" ;;
	*) return 1 ;;
	esac
}

provide() { # VERSION
	ready "$1" && return
	installed=$(PATH=$PATH:/usr/sbin:/sbin command -v "$program")
	if [ -n "$installed" ]; then
		case $(version_of "$installed") in
		"$1".*)
			rm -rf "${base:?}/$1"
			mkdir "$base/$1"
			ln -s "$installed" "$base/$1/$program"
			ready "$1"
			return
			;;
		esac
	fi
	command -v apt-get >/dev/null && command -v dpkg >/dev/null || {
		fail "$1" "needs apt-get and dpkg"
		return
	}
	fetch "$1"
	rc=$?
	rm -rf "${base:?}/.work-$1-$$"
	[ $rc -eq 0 ] || return 1
	ready "$1" || fail "$1" "unpacked, but $base/$1/$program does not run"
}

[ $# -gt 0 ] || set -- 2.6 3.0 3.2
rc=0
for version in "$@"; do
	provide "$version" || rc=1
done
exit $rc
