#!/bin/sh
# Makes headers of CUDA 12 or 13 out of the cuda.h of CUDA 11.8, for tests on a machine
# that has neither. They declare the functions of this package and of gorgonia.org/cu
# as the new version does. The changes are from NVIDIA's tables of changes. All else is
# CUDA 11.8's. So the result shows calls that do not fit, and nothing else that is new.
#
#	cuda/headers_emulated.sh FOLDER-OF-CUDA.H 12|13 NEW-FOLDER
set -eu
[ $# = 3 ] || { echo "usage: $0 FOLDER-OF-CUDA.H 12|13 NEW-FOLDER" >&2; exit 2; }
from=$1/cuda.h version=$2 to=$3/cuda.h
mkdir -p "$3"
grep -q '^#define CUDA_VERSION 11080$' "$from" || { echo "$from is not of CUDA 11.8" >&2; exit 1; }

# changed PATTERN NUMBER: checks that a change was made in that many lines.
changed() {
	n=$(grep -cE "$1" "$to") || true
	[ "$n" = "$2" ] || { echo "$0: $n lines with $1, not $2" >&2; exit 1; }
}

# name OLD NEW: makes OLD mean NEW in programs.
name() {
	names="$names
#define $1 $2"
}

names=
edit=
case $version in
12 | 13)
	# Kernels of a graph got two more parameters.
	edit='/^typedef struct CUDA_KERNEL_NODE_PARAMS_st/,/^typedef CUDA_KERNEL_NODE_PARAMS_v1 CUDA_KERNEL_NODE_PARAMS;/{
		s/^typedef CUDA_KERNEL_NODE_PARAMS_v1 CUDA_KERNEL_NODE_PARAMS;/typedef struct CUDA_KERNEL_NODE_PARAMS_v2_st { CUfunction func; unsigned int gridDimX, gridDimY, gridDimZ, blockDimX, blockDimY, blockDimZ, sharedMemBytes; void **kernelParams; void **extra; void *kern; CUcontext ctx; } CUDA_KERNEL_NODE_PARAMS_v2; typedef CUDA_KERNEL_NODE_PARAMS_v2 CUDA_KERNEL_NODE_PARAMS;/
	}'
	for f in cuGraphAddKernelNode cuGraphKernelNodeGetParams cuGraphKernelNodeSetParams cuGraphExecKernelNodeSetParams; do
		name $f ${f}_v2
	done
	;;
*)
	echo "$0: no CUDA $version" >&2
	exit 2
	;;
esac
if [ "$version" = 13 ]; then
	edit="$edit
	/^#define cuCtxCreate /d
	s/^(CUresult CUDAAPI cuCtxCreate\()CUcontext \*pctx, unsigned/\1CUcontext *pctx, CUctxCreateParams *ctxCreateParams, unsigned/
	s/^(CUresult CUDAAPI cuMemPrefetchAsync\(.*)CUdevice dstDevice, /\1CUmemLocation location, unsigned int flags, /
	s/^(CUresult CUDAAPI cuMemAdvise\(.*)CUdevice device/\1CUmemLocation location/
	s/^(CUresult CUDAAPI cuGraphAddDependencies\(.*)size_t numDependencies/\1const CUgraphEdgeData *edgeData, size_t numDependencies/
	s/^(CUresult CUDAAPI cuGraphGetEdges\(.*)size_t \*numEdges/\1CUgraphEdgeData *edgeData, size_t *numEdges/
	/^    #define cuMemPrefetchAsync /d
	/^#define cuDeviceGetUuid_v2 /d
	/^CUresult CUDAAPI cuDeviceGetUuid_v2\(/d
	s/^(typedef CUmemLocation_v1 CUmemLocation;)/\1\\
typedef struct CUctxCreateParams_st { CUexecAffinityParam *execAffinityParams; int numExecAffinityParams; void *cigParams; } CUctxCreateParams;\\
typedef struct CUgraphEdgeData_st { unsigned char from_port, to_port, type, reserved[5]; } CUgraphEdgeData;/"
	name cuCtxCreate cuCtxCreate_v4
	for f in cuMemAdvise cuMemPrefetchAsync cuGraphAddDependencies cuGraphGetEdges cuEventElapsedTime cuDeviceGetUuid; do
		name $f ${f}_v2
	done
fi
number=$((version * 1000))
sed -E "$edit" "$from" | awk -v names="$names" -v number=$number '
	/^#define CUDA_VERSION / { print "#define CUDA_VERSION " number names; next }
	{ print }' >"$to"

changed "^#define CUDA_VERSION $number\$" 1
changed 'CUDA_KERNEL_NODE_PARAMS_v2 CUDA_KERNEL_NODE_PARAMS;' 1
if [ "$version" = 13 ]; then
	changed '^#define cuCtxCreate cuCtxCreate_v4$' 1
	changed '^CUresult CUDAAPI cuCtxCreate\(CUcontext \*pctx, CUctxCreateParams' 1
	changed '^CUresult CUDAAPI cu(MemPrefetchAsync|MemAdvise)\(.*CUmemLocation location' 2
	changed '^CUresult CUDAAPI cuGraph(AddDependencies|GetEdges)\(.*CUgraphEdgeData' 2
fi
