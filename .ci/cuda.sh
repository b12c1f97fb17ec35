#!/usr/bin/env bash
# The CUDA device without a GPU: the build with every header, the stand-in for the driver, and
# a dry run of what a machine with a GPU runs.
. .ci/lib.sh
step "CUDA: the tag, the driver's library, no GPU"
cache=${XDG_CACHE_HOME:-$HOME/.cache}/cps-cuda
(
	environment=$(cuda/headers.sh "$cache") # cuda.h and libcuda1 of Debian's non-free
	eval "$environment"
	go vet -tags cuda ./...
	"$tools/staticcheck" -tags cuda ./cuda/... ./examples/device
	# The header of CUDA 11.8 is real, those of 12 and 13 are emulated: made out of it.
	for version in 12 13; do
		cuda/headers_emulated.sh "$cache" $version "$tools/cuda$version"
		CGO_CFLAGS="-I$PWD/cuda/include -I$tools/cuda$version" go vet -tags cuda ./cuda
		CGO_CFLAGS="-I$PWD/cuda/include -I$tools/cuda$version" go build -tags cuda -o "$tools/device$version" ./examples/device
		if readelf -d "$tools/device$version" | grep -q 'NEEDED.*libcuda'; then
			echo "with the header of CUDA $version the program needs libcuda.so.1 to start"
			exit 1
		fi
		echo "built with Debian's header of CUDA 11.8 and an emulated one of CUDA $version"
	done
	# The emulation emulates: without the header of this module CUDA 13's does not build.
	if CGO_CFLAGS="-I$tools/cuda13" go build -tags cuda -o "$tools/none" ./examples/device 2>"$tools/refused"; then
		echo "the emulated header of CUDA 13 builds as it is"
		exit 1
	fi
	grep -q 'not enough arguments in call to (_Cfunc_cuCtxCreate)' "$tools/refused"
	go build -tags cuda -o "$tools/device" ./examples/device
	if readelf -d "$tools/device" | grep -q 'NEEDED.*libcuda'; then
		echo "the program needs libcuda.so.1 to start"
		exit 1
	fi
	"$tools/device" -rows 2 -dim 3000 | tee "$tools/none"                            # without a library
	LD_LIBRARY_PATH=$cache "$tools/device" -rows 2 -dim 3000 | tee "$tools/real" # the real one, without a GPU
	here=$(grep -o 'digest .*' "$tools/none")
	grep -q "$here" "$tools/real"

	step "CUDA: the stand-in for the driver"
	cuda/standin/build.sh "$tools/standin"
	export LD_LIBRARY_PATH=$tools/standin
	"$tools/device" -rows 2 -dim 3000 | tee "$tools/standin/out"
	grep -q ' on GPU 0: ' "$tools/standin/out"
	grep -q "$here" "$tools/standin/out"
	go test -tags cuda ./cuda/... ./examples/device
	go test -race -short -tags cuda ./cuda/... ./examples/device
	GOEXPERIMENT=cgocheck2 go test -short -tags cuda ./cuda
	LD_LIBRARY_PATH=$tools/standin "$tools/device13" -rows 2 -dim 3000 >"$tools/standin/out"
	grep -q ' on GPU 0: ' "$tools/standin/out"
	grep -q "$here" "$tools/standin/out"

	step "CUDA: what a machine with a GPU runs, behind the stand-in"
	cuda/gpucheck/gpucheck.sh build "$tools/gpucheck"
	bash "$tools/gpucheck/gpucheck.sh" run "$tools/checked"
	[ "$(find "$tools/checked" -type f | wc -l)" -le 8 ]
	for name in open contexts bits words foreign speed; do
		grep -q "^$name .*pass" "$tools/checked/summary.txt" || { cat "$tools/checked/log.txt"; exit 1; }
	done
)
