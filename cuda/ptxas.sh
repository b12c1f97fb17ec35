#!/bin/sh
# Compiles the committed PTX with NVIDIA's ptxas and prints tables (needs Go): `cuda/ptxas.sh
# >cuda/ptxas.md`. They show the registers and spills of every kernel, how many of its warps a
# multiprocessor holds at once, and what an H200 issues for an element of every pass. ptxas
# and nvdisasm are taken from PATH, or from Debian's nvidia-cuda-toolkit (component non-free,
# see headers.sh). Nothing is installed.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
temporary=$(mktemp -d)
trap 'rm -rf "$temporary"' EXIT
if ! command -v ptxas >/dev/null || ! command -v nvdisasm >/dev/null; then
	(cd "$temporary" && apt-get download -qq nvidia-cuda-toolkit 2>/dev/null &&
		dpkg-deb --fsys-tarfile nvidia-cuda-toolkit_*.deb | tar -x ./usr/bin/ptxas ./usr/bin/nvdisasm)
	PATH=$temporary/usr/bin:$PATH
fi
cd "$here/kernels"
echo "ptxas $(ptxas --version | sed -n 's/.*release \([^,]*\),.*/\1/p'), groups of 128 threads"
echo
echo "| kernel | target | registers | bytes spilled | warps, of 64 |"
echo "|---|---|---|---|---|"
status=0
for kernel in step squares grad sum_rows; do
	for target in 70 80 90; do
		ptxas -arch=sm_$target -v "$kernel.ptx" -o "$temporary/cubin" 2>"$temporary/log"
		registers=$(sed -n 's/.*Used \([0-9]*\) registers.*/\1/p' "$temporary/log")
		spilled=$(sed -n 's/.* \([0-9]*\) bytes spill stores, \([0-9]*\) bytes spill loads.*/\1 \2/p' "$temporary/log" | awk '{ print $1 + $2 }')
		# 65536 registers, which warps get in units of 256; 4 warps a group, at most 16
		# groups.
		groups=$((65536 / ((registers * 32 + 255) / 256 * 256 * 4)))
		[ $groups -le 16 ] || groups=16
		echo "| $kernel | sm_$target | $registers | $spilled | $((groups * 4)) |"
		[ "$spilled" = 0 ] || status=1
	done
	# Machine code in which every instruction names its line of PTX.
	awk '
		/^\.address_size/ { print; print ".file 1 \"" ARGV[1] "\""; next }
		/^{/ { inside = 1 }
		inside && /^[ \t]+[a-z@{]/ { print ".loc 1 " NR " 0" }
		{ print }' "$kernel.ptx" >"$temporary/$kernel.lines.ptx"
	ptxas -arch=sm_90 -lineinfo "$temporary/$kernel.lines.ptx" -o "$temporary/cubin"
	nvdisasm -c -g "$temporary/cubin" >"$temporary/$kernel.sass"
done
echo
echo "sm_90, an H200 of 132 multiprocessors at 1.98 GHz, and a copy of 4.3 TB/s"
echo
cd "$here"
go test . -run 'TestIssueSlots$' -sass "$temporary" -v >"$temporary/log" || { cat "$temporary/log" >&2; exit 1; }
grep '^|' "$temporary/log"
exit $status
