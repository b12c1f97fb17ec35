#!/bin/sh
# Makes the PTX of the kernels, with clang 14 and no CUDA SDK: `go generate ./cuda`.
#
# -ffp-contract=off keeps products and sums apart. The -mllvm options are for speed. They
# keep arrays in registers: an early transformation would index them with variables. They
# make no address for every element of a pair. They keep accesses of 16 bytes whole.
set -eu
cd "$(dirname "$0")"
for kernel in step squares grad sum_rows ../testdata/words; do
	"${CLANG:-clang-14}" -x cuda --cuda-device-only --cuda-gpu-arch=sm_70 -Xclang -target-feature -Xclang +ptx63 \
		-nocudainc -nocudalib -std=c++17 -O3 -ffp-contract=off -Wall -Wextra -Werror \
		-mllvm -simplifycfg-sink-common=false -mllvm -disable-lsr -mllvm -disable-vector-combine -S -o "$kernel.ptx" "$kernel.cu"
done
