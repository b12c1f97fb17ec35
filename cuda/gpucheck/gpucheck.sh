#!/bin/bash
# Checks and measures package cuda on a machine with a GPU, in at most nine minutes.
#
#	cuda/gpucheck/gpucheck.sh build FOLDER   here, with cuda.h and libcuda.so (see ../headers.sh)
#	bash FOLDER/gpucheck.sh run [OUT]        there, without Go; writes OUT, or FOLDER/out
#
# `run` compares bits with the processor's: the conformance suite, all 2^32 words of the
# functions of the noise, foreign memory and streams. It measures every pass against a copy
# within the device, and torch. Every step has a limit. At any time OUT holds what is finished:
# summary.txt, log.txt, and the measurements. A step that the machine cannot do is skipped and
# says why. Behind the stand-in for the driver, shapes are small, and speeds mean nothing.
set -u
here=$(cd "$(dirname "$0")" && pwd)

build() {
	set -e
	mkdir -p "$1"
	local folder
	folder=$(cd "$1" && pwd)
	cd "$here/../.."
	go test -tags cuda -c -ldflags '-s -w' -o "$folder/cuda.test" ./cuda
	go build -tags cuda -ldflags '-s -w' -buildmode=c-shared -o "$folder/interop.so" ./cuda/gpucheck/interop
	rm -f "$folder/interop.h"
	cp cuda/gpucheck/gpucheck.sh cuda/gpucheck/gpucheck.py "$folder"
	# Tests read sources and data beside their package.
	mkdir -p "$folder/cuda/kernels" "$folder/cuda/testdata" "$folder/internal/kernel/testdata"
	cp cuda/kernels/*.h cuda/kernels/*.cu cuda/kernels/*.ptx "$folder/cuda/kernels"
	cp cuda/testdata/words.ptx "$folder/cuda/testdata"
	cp internal/kernel/philox.go internal/kernel/normal.go "$folder/internal/kernel"
	cp internal/kernel/testdata/words.txt "$folder/internal/kernel/testdata"
	local kib
	kib=$(du -sk "$folder" | cut -f1)
	echo "$folder: $kib KiB"
	[ "$kib" -le 65536 ] || { echo "more than 64 MiB" >&2; exit 1; }
}

# note NAME STATUS SECONDS WORDS: a line of the summary.
note() { printf '%-12s %-5s %4ss  %s\n' "$@" | tee -a "$summary"; }

# step NAME LIMIT COMMAND...: runs COMMAND within LIMIT seconds and within the time left for all.
# A step is skipped if it prints a line "SKIP: why", or if Go tests were skipped and none passed.
step() {
	local name=$1 limit=$2 from=$SECONDS part=$temporary/part rc why
	shift 2
	[ "$limit" -le $((total - SECONDS)) ] || limit=$((total - SECONDS))
	if [ "$limit" -lt 3 ]; then
		note "$name" skip 0 "no time is left"
		return 1
	fi
	timeout -k 5 "$limit" "$@" >"$part" 2>&1
	rc=$?
	{ echo "== $name: $*"; cat "$part"; echo "== $name: status $rc"; } >>"$log"
	if [ $rc = 124 ] || [ $rc = 137 ]; then
		note "$name" FAIL $((SECONDS - from)) "ran past its limit of $limit s"
	elif [ $rc != 0 ]; then
		why=$(grep -E -m 1 '^ +[a-z_]+\.go:[0-9]+: |^panic: |NOT |[Ee]rror' "$part" || tail -n 1 "$part")
		note "$name" FAIL $((SECONDS - from)) "status $rc: $why"
	elif why=$(grep -m 1 '^SKIP: ' "$part"); then
		note "$name" skip $((SECONDS - from)) "${why#SKIP: }"
		return 0
	elif grep -q '^--- SKIP' "$part" && ! grep -q '^--- PASS' "$part"; then
		note "$name" skip $((SECONDS - from)) "$(grep -m 1 -oP '^ +[a-z_]+\.go:[0-9]+: \K.*' "$part")"
		return 0
	elif grep -q 'no tests to run' "$part"; then
		note "$name" FAIL $((SECONDS - from)) "no such test"
	else
		note "$name" pass $((SECONDS - from)) "$small"
		return 0
	fi
	failed=1
	return 1
}

run() {
	local out=${1:-$here/out}
	total=540 failed=0 small=
	SECONDS=0
	mkdir -p "$out"
	out=$(cd "$out" && pwd)
	summary=$out/summary.txt log=$out/log.txt
	: >"$summary" >"$log"
	temporary=$(mktemp -d)
	trap 'rm -rf "$temporary"' EXIT
	export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}/usr/local/nvidia/lib64:/usr/local/nvidia/lib
	export PYTHONUNBUFFERED=1 CUDA_CACHE_PATH=$temporary/cache
	cd "$here/cuda"
	local test="../cuda.test -test.v -test.run"

	step machine 15 $test 'TestMachine$'
	{ nvidia-smi; uname -a; nproc; } >>"$log" 2>&1
	local shapes="16x1048576 1x4800000 100000x64" words="-words" rounds=15
	if grep -q 'GPU 0: stand-in' "$log"; then
		small="(small: not a GPU)" shapes="2x1000 1x2000 8x64" rounds=1
	fi
	step open 20 $test 'TestOpen(Stream|DefaultStream|PerThreadStream|Refuses)|TestNoDriver|TestDriverStartsLate|TestFirstCall|TestSyncsTogether'
	step contexts 15 $test 'TestOpenCurrent' # alone: a fault would end it
	step bits 75 $test 'TestConformance$'
	step words 45 $test 'TestWords$' $words
	step foreign 20 python3 ../gpucheck.py foreign ../interop.so
	step streams 45 python3 ../gpucheck.py torch ../interop.so
	local shape
	for shape in $shapes; do
		step "speed $shape" 25 $test 'TestReport$' -report "$out/speed-$shape.json" \
			-report-rows "${shape%x*}" -report-dim "${shape#*x}" -report-rounds $rounds
	done
	step registers 10 $test 'TestRegisters$'
	step long 20 $test 'TestHugeRow$' -huge
	local sanitizer=compute-sanitizer
	if ! command -v $sanitizer >/dev/null; then
		note memcheck skip 0 "no $sanitizer"
		note initcheck skip 0 "no $sanitizer"
	elif ! timeout -k 5 25 $sanitizer --error-exitcode 9 ../cuda.test -test.run 'TestOpenDefaultStream$' >>"$log" 2>&1; then
		note memcheck skip 0 "$sanitizer does not take the device, see log.txt"
		note initcheck skip 0 "$sanitizer does not take the device"
	else
		step memcheck 60 $sanitizer --tool memcheck --error-exitcode 9 $test 'TestConformance/(Step|Squares|Grad|Shapes|Queue)$' -rapid.checks 5
		step initcheck 30 $sanitizer --tool initcheck --error-exitcode 9 $test 'TestConformance/(Step|Squares|Grad)$' -rapid.checks 3
	fi
	shape=${shapes%% *}
	step torch 120 python3 ../gpucheck.py time "$out/speed-$shape.json" "$out/torch.json"

	if [ $failed = 0 ]; then echo "all that ran passed, in $SECONDS s"; else echo "FAILED, in $SECONDS s"; fi | tee -a "$summary"
	# Show what fits the end of a terminal; the rest is in log.txt.
	[ -n "$small" ] || grep -hE '^ *\| |same bits|NOT |captured|registers,|words of' "$log" | cut -c 1-200 | head -n 100
	return $failed
}

case "${1:-} $#" in
"build 2") build "$2" ;;
"run 1" | "run 2") run "${2:-}" ;;
*)
	echo "usage: $0 build FOLDER | run [OUT]" >&2
	exit 2
	;;
esac
