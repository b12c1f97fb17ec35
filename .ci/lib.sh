# What the scripts of this folder share. They run in the root of the module, and `tools`
# is a folder of theirs.
set -euo pipefail
export GOFLAGS="${GOFLAGS:-} -mod=readonly"
: "${tools:?run .ci/run, or set tools to an empty folder}"

export began=${began:-$(date +%s)}
step() { printf '\n== %s (%ds)\n' "$*" $(($(date +%s) - began)); }

# chosen LIST [PACKAGE] prints the -run pattern of the tests that a list names. A name that
# the package does not have is an error: a test that was renamed must not be left out.
chosen() {
	local package test listed pattern=
	while read -r package test; do
		case $package in '' | '#'*) continue ;; esac
		[ -z "${2:-}" ] || [ "$package" = "$2" ] || continue
		listed=$(go test -list "^$test\$" "$package") || return 1
		grep -qx "$test" <<<"$listed" || { echo "$1: $package has no $test" >&2; return 1; }
		pattern+="|$test"
	done <"$1"
	[ -n "$pattern" ] || { echo "$1: nothing of ${2:-any package}" >&2; return 1; }
	printf '^(%s)$' "${pattern:1}"
}

# packages LIST prints the packages that a list names.
packages() { grep -v '^#' "$1" | cut -d' ' -f1 | sort -u; }
