#!/bin/sh
# Fetches cuda.h and libcuda.so, which building with the tag cuda needs, on a Debian
# machine without CUDA. They come out of packages of the component non-free, which the
# script adds to the machine's apt source. It installs nothing. It prints the environment
# for go.
#
#	eval "$(cuda/headers.sh FOLDER)" && go build -tags cuda ./...
set -eu
[ $# = 1 ] || { echo "usage: $0 FOLDER" >&2; exit 2; }
mkdir -p "$1"
here=$(cd "$(dirname "$0")" && pwd)
folder=$(cd "$1" && pwd)

if ! [ -e "$folder/cuda.h" ] || ! [ -e "$folder/libcuda.so" ]; then
	if ! apt-cache policy nvidia-cuda-dev | grep -q 'Candidate: [0-9]'; then
		for list in /etc/apt/sources.list /etc/apt/sources.list.d/debian.sources; do
			[ -e $list ] || continue
			sed -i -E 's/^((Components:|deb ).*)\bmain\b/\1main contrib non-free/' $list
		done
		apt-get update -qq
	fi
	temporary=$(mktemp -d)
	trap 'rm -rf "$temporary"' EXIT
	cd "$temporary"
	# The header is near the start of its package of 774 MB. If it is the header of CUDA
	# 11.8, the script does not wait for the rest. Otherwise it downloads the whole
	# package, which apt checks.
	address=$(apt-get download --print-uris nvidia-cuda-dev | cut -d"'" -f2)
	{ curl -fsSL "$address" 2>/dev/null || true; } | dpkg-deb --fsys-tarfile /dev/stdin 2>/dev/null |
		tar -x --occurrence=1 --transform 's|.*/||' ./usr/include/cuda.h 2>/dev/null || true
	sum=55639151a971a10c28d627a98dcd406c6320a5b4e5b67dd9d229056ed5c8e045
	if ! echo "$sum  cuda.h" | sha256sum --status -c 2>/dev/null; then
		apt-get download -qq nvidia-cuda-dev 2>/dev/null
		dpkg-deb --fsys-tarfile nvidia-cuda-dev_*.deb | tar -x --transform 's|.*/||' ./usr/include/cuda.h
	fi
	apt-get download -qq libcuda1 2>/dev/null
	dpkg-deb -x libcuda1_*.deb .
	cp -a usr/lib/*/nvidia/current/libcuda.so* "$folder"
	mv cuda.h "$folder"
fi
# The folder of this package comes first: its cuda.h makes that of CUDA 13 fit
# gorgonia.org/cu.
echo "export CGO_CFLAGS='-I$here/include -I$folder' CGO_LDFLAGS='-L$folder'"
