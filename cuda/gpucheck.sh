#!/bin/sh
# Checks and measures package cuda on a machine with a GPU, which needs no Go.
#
#	cuda/gpucheck.sh build FOLDER   here: cuda.h and libcuda.so must be found, see headers.sh
#	FOLDER/gpucheck.sh run          there: writes FOLDER/report*.json, report*.md, torch.json and log
#
# `run` compares the bits with the specification, under compute-sanitizer too if there
# is one; measures every pass against a copy within the device in the same run; and
# measures what torch takes for a step, eager and compiled, if there is torch.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
case "${1:-}" in
build)
	[ $# = 2 ] || { echo "usage: $0 build FOLDER" >&2; exit 2; }
	mkdir -p "$2"
	folder=$(cd "$2" && pwd)
	cd "$here"
	go test -tags cuda -c -o "$folder/cuda.test" .
	cp gpucheck.sh gpucheck.py "$folder"
	# Tests read sources beside their package.
	mkdir -p "$folder/internal" "$folder/cuda"
	cp -r ../internal/kernel "$folder/internal"
	cp -r kernels "$folder/cuda"
	;;
run)
	cd "$here/cuda"
	status=0
	try() {
		echo "== $*"
		"$@" || { status=1; echo "== failed: $*"; }
	}
	{
		nvidia-smi || true
		try ../cuda.test -test.v -test.run 'Conformance|OpenStream|OpenDefaultStream|NoDriver'
		try ../cuda.test -test.v -test.run HugeRow -huge
		if command -v compute-sanitizer >/dev/null; then
			for tool in memcheck racecheck initcheck synccheck; do
				try compute-sanitizer --tool $tool --error-exitcode 1 ../cuda.test -test.run 'Conformance/(Step|Squares|Grad|Shapes|LongRows|ManyRows|Queue)$' -rapid.checks 20
			done
		else
			echo "no compute-sanitizer here"
		fi
		# What fills the GPU's memory system, one long video, and a few images.
		try ../cuda.test -test.v -test.run Report -report ../report -report-rows 64 -report-dim 262144
		try ../cuda.test -test.v -test.run Report -report ../report-one -report-rows 1 -report-dim 4800000
		try ../cuda.test -test.v -test.run Report -report ../report-small -report-rows 16 -report-dim 65536 \
			-report-note "Everything stays in a second-level cache of 50 MB, pass and copy: not a measure of memory"
		if python3 -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' 2>/dev/null; then
			try python3 ../gpucheck.py ../report.json ../torch
		else
			echo "no torch with CUDA here"
		fi
		echo "== status $status"
	} >../log 2>&1
	cat ../log
	grep -q '^== status 0$' ../log
	;;
*)
	echo "usage: $0 build FOLDER | run" >&2
	exit 2
	;;
esac
