#!/bin/sh
# Builds the stand-in for CUDA's driver in a folder. With LD_LIBRARY_PATH=FOLDER,
# programs built with the tag cuda then use it.
set -eu
[ $# = 1 ] || { echo "usage: $0 FOLDER" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
"${CXX:-g++}" -std=c++17 -O2 -g -fPIC -shared -ffp-contract=off -fno-strict-aliasing -Wall -Wextra -Werror \
	-Wl,-soname,libcuda.so.1 -pthread -o "$1/libcuda.so.1" "$here"/driver.cpp "$here"/warp.cpp "$here"/kernels.cpp
ln -sf libcuda.so.1 "$1/libcuda.so"
