#!/bin/sh
# What one operation costs in figures that don't jitter: instructions (callgrind), those among them
# that are atomic read-modify-writes, system calls (strace) and minor page faults. Each is counted at
# two sizes, so that starting and ending cancel. One worker. PEER=dir counts another runtime with
# this layout beside ours. PLACES=1 lists where the atomic instructions are.
#
#   test/bench/counts.sh [OPERATION]
set -eu
cd "$(dirname "$0")/../.."
here=$PWD
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

config() {
	cat >"$tmp/config" <<END
thread = 1
harbor = 0
bootstrap = "snlua bootstrap"
start = "count"
lualoader = "./lualib/loader.lua"
luaservice = "./service/?.lua;$here/test/bench/lib/?.lua"
lua_path = "./lualib/?.lua;./lualib/?/init.lua"
lua_cpath = "./luaclib/?.so"
cpath = "./cservice/?.so"
END
}

# run DIR N COMMAND...: the operation N times, under that command
run() {
	(
		cd "$1"
		export BENCH_WHAT="$operation" BENCH_N="$2"
		# a port nobody uses: the system's own range is above
		export BENCH_PORT=$((20000 + $$ % 10000))
		shift 2
		"$@" ./skynet "$tmp/config" >"$tmp/out" 2>"$tmp/err" || { cat "$tmp/out" "$tmp/err" >&2; exit 1; }
	)
}

# the profile stays for what else is counted in it
instructions() {
	run "$1" "$2" valgrind --tool=callgrind --dump-instr=yes --compress-pos=no --compress-strings=no \
		--callgrind-out-file="$tmp/profile.$2"
	sed -n 's/.*Collected : \([0-9]*\).*/\1/p' "$tmp/err"
}

atomics() {
	3rd/lua/lua test/bench/lib/atomics.lua "$tmp/profile.$2"
}

calls() {
	run "$1" "$2" strace -f -c -o "$tmp/strace"
	# "% time, seconds, usecs/call, calls [, errors], total"
	awk '$NF == "total" { print $4 }' "$tmp/strace"
}

faults() {
	run "$1" "$2" env
	sed -n 's/^COUNT.\([0-9]*\)$/\1/p' "$tmp/out"
}

# per_operation COUNTER DIR N: the difference of N and 4 N operations, divided
per_operation() {
	a=$($1 "$2" "$3") || return
	b=$($1 "$2" $(($3 * 4))) || return
	awk -v a="$a" -v b="$b" -v n=$(($3 * 3)) 'BEGIN { printf "%.4g", (b - a) / n }'
}

row() {
	printf '%-32s %12s %12s %12s %12s  %s\n' "$@"
}

config
row operation instructions atomics "system calls" "minor faults" ""
while read -r n operation; do
	case $operation in
	*"${1:-}"*) ;;
	*) continue ;;
	esac
	for dir in "$here" ${PEER:+"$PEER"}; do
		i=$(per_operation instructions "$dir" "$n") || i=-
		a=$(per_operation atomics "$dir" "$n") || a=-
		s=$(per_operation calls "$dir" "$n") || s=-
		f=$(per_operation faults "$dir" $((n * 10))) || f=-
		who=
		[ "$dir" = "$here" ] || who=peer
		row "$operation" "$i" "$a" "$s" "$f" "$who"
		[ -z "${PLACES:-}" ] ||
			3rd/lua/lua test/bench/lib/atomics.lua "$tmp/profile.$n" "$tmp/profile.$((n * 4))" $((n * 3))
	done
done <<END
5000 call
20000 call, one of 1000
10000 wake one of 10 that wait
10000 wake one of 5000 that wait
10000 send
100 start a service
100 start and end a service
2000 timer
10000 pack
10000 unpack
500 socket echo, both ends
500 cluster.call 64 B, both nodes
END
