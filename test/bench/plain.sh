#!/bin/sh
# Plain Lua code on the project's Lua beside stock Lua of the same version, compiler and flags: how many
# instructions each program of plain.lua takes (callgrind; two sizes, so that starting cancels). Which
# keys of a table collide depends on a seed that changes from start to start, so there are several runs.
#
#   RUNS=5 test/bench/plain.sh OURS STOCK [PROGRAM]
set -eu
cd "$(dirname "$0")/../.."
ours=$1 stock=$2 only=${3:-}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# instructions LUA PROGRAM SIZE
instructions() {
	valgrind --tool=callgrind --callgrind-out-file=/dev/null "$1" test/bench/plain.lua "$3" "$2" \
		>"$tmp/out" 2>&1 || { cat "$tmp/out" >&2; exit 1; }
	sed -n 's/.*Collected : \([0-9]*\).*/\1/p' "$tmp/out"
}

# Both in turn, one line each time: "instructions per unit of size of ours, of stock"
runs() {
	small=2 large=6
	for _ in $(seq "${RUNS:-5}"); do
		for lua in "$ours" "$stock"; do
			a=$(instructions "$lua" "$1" $small)
			b=$(instructions "$lua" "$1" $large)
			echo $(((b - a) / (large - small)))
		done | paste - -
	done
}

printf '%-10s %14s %14s %7s  %s\n' program instructions stock ratio spread
for program in fib tables methods strings keys gc closures; do
	case $program in *"$only"*) ;; *) continue ;; esac
	runs "$program" | awk -v name="$program" '
		{ a += $1; b += $2; r = $1 / $2; if (NR == 1 || r < lo) lo = r; if (r > hi) hi = r }
		END {
			printf "%-10s %14.0f %14.0f %7.3f  %.3f-%.3f\n", name, a / NR, b / NR, a / b, lo, hi
		}' | tee -a "$tmp/table"
done
awk '{ s += log($4) } END { printf "%-10s %14s %14s %7.3f\n", "mean", "", "", exp(s / NR) }' "$tmp/table"
