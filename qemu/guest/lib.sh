# Shared by the guest image scripts; sourced. Sets `here`, `top` and `cache`, and stops
# the script at the first error.
# shellcheck shell=bash
set -euo pipefail
# The images do not depend on the builder's locale, time zone and umask.
export LC_ALL=C.UTF-8 TZ=UTC
umask 022

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(cd "$here/../.." && pwd)
# Everything built lives below here; deleting it is always safe.
cache=${ABIDE_GUEST_CACHE:-$top/target/guest}
export here top cache
mkdir -p "$cache"

MIB=$((1024 * 1024))
export MIB

# Prints the error to stderr and stops.
die() {
	echo "${0##*/}: $*" >&2
	exit 1
}

# fingerprint PATH...: one hash over the names, modes and contents of files and folders.
fingerprint() {
	find "$@" \( -type f -o -type l \) -print0 | sort -z |
		while IFS= read -r -d '' file; do
			printf '%s %s %s\n' "${file#"$top/"}" "$(stat -c %f "$file")" "$(readlink "$file" || true)"
			[ -L "$file" ] || sha256sum <"$file"
		done | sha256sum | cut -c1-16
}

# cached NAME KEY: true when $cache/NAME was finished with KEY.
cached() {
	[ -e "$cache/$1.key" ] && [ "$(cat "$cache/$1.key")" = "$2" ]
}

# finished NAME KEY: what `cached` looks at; written last.
finished() {
	echo "$2" >"$cache/$1.key"
}

# One builder at a time: tests run side by side.
lock_cache() {
	exec 9>"$cache/.lock"
	flock 9
}

# root_uuid VERSION VARIANT: the PARTUUID of that image's root, always the same one.
root_uuid() {
	uuidgen --sha1 --namespace @dns --name "$1.$2.root.edge.invalid"
}

# disk_uuid NAME: a UUID for anything else that needs a stable one.
disk_uuid() {
	uuidgen --sha1 --namespace @dns --name "$1.edge.invalid"
}

# mib FILE: the file's size in MiB, rounded up.
mib() {
	echo $((($(stat -c %s "$1") + MIB - 1) / MIB))
}

# quietly COMMAND...: its output is shown, on stderr, only when it fails.
quietly() {
	local log status=0
	log=$(mktemp)
	"$@" >"$log" 2>&1 || status=$?
	[ "$status" = 0 ] || cat "$log" >&2
	rm -f "$log"
	return "$status"
}
