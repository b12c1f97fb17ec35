#!/bin/sh
# Compiles the committed PTX with NVIDIA's ptxas and prints, as a table, registers and
# spills of every kernel and how many of its warps a multiprocessor holds at once. Takes
# ptxas from PATH, or from Debian's nvidia-cuda-toolkit (component non-free, see
# headers.sh), of which nothing is installed.
set -eu
cd "$(dirname "$0")/kernels"
temporary=$(mktemp -d)
trap 'rm -rf "$temporary"' EXIT
ptxas=$(command -v ptxas || true)
if [ -z "$ptxas" ]; then
	(cd "$temporary" && apt-get download -qq nvidia-cuda-toolkit 2>/dev/null &&
		dpkg-deb --fsys-tarfile nvidia-cuda-toolkit_*.deb | tar -x ./usr/bin/ptxas)
	ptxas=$temporary/usr/bin/ptxas
fi
echo "ptxas $("$ptxas" --version | sed -n 's/.*release \([^,]*\),.*/\1/p'), groups of 128 threads"
echo
echo "| kernel | target | registers | bytes spilled | warps, of 64 |"
echo "|---|---|---|---|---|"
status=0
for kernel in step squares grad sum_rows; do
	for target in 70 80 90; do
		"$ptxas" -arch=sm_$target -v "$kernel.ptx" -o "$temporary/cubin" 2>"$temporary/log"
		registers=$(sed -n 's/.*Used \([0-9]*\) registers.*/\1/p' "$temporary/log")
		spilled=$(sed -n 's/.* \([0-9]*\) bytes spill stores, \([0-9]*\) bytes spill loads.*/\1 \2/p' "$temporary/log" | awk '{ print $1 + $2 }')
		# 65536 registers, given to warps by 256; 4 warps a group, 16 groups of 128 threads.
		groups=$((65536 / ((registers * 32 + 255) / 256 * 256 * 4)))
		[ $groups -le 16 ] || groups=16
		echo "| $kernel | sm_$target | $registers | $spilled | $((groups * 4)) |"
		[ "$spilled" = 0 ] || status=1
	done
done
exit $status
