// CUDA's cuda.h, with the functions of CUDA 11 and 12 to which CUDA 13 gave new
// parameters.
//
// gorgonia.org/cu calls them with the old parameters. Drivers keep the old functions,
// under the names below. So a program built with the header of CUDA 13 does what it does
// with an older header. Put -I of this folder before that of CUDA's, so that this file is
// found first. With CUDA 11 and 12 it changes nothing. headers.sh and README.md say how to
// build.
#include_next <cuda.h>

#if CUDA_VERSION >= 13000 && !defined(CPS_CUDA_COMPATIBLE)
#define CPS_CUDA_COMPATIBLE

#ifdef __cplusplus
extern "C" {
#endif

#undef cuCtxCreate
#define cuCtxCreate cuCtxCreate_v2
CUresult CUDAAPI cuCtxCreate_v2(CUcontext *context, unsigned int flags, CUdevice device);

#undef cuMemAdvise
CUresult CUDAAPI cuMemAdvise(CUdeviceptr at, size_t bytes, CUmem_advise advice, CUdevice device);

#undef cuMemPrefetchAsync
CUresult CUDAAPI cuMemPrefetchAsync(CUdeviceptr at, size_t bytes, CUdevice device, CUstream stream);

#undef cuGraphAddDependencies
CUresult CUDAAPI cuGraphAddDependencies(CUgraph graph, const CUgraphNode *from, const CUgraphNode *to, size_t count);

#undef cuGraphGetEdges
CUresult CUDAAPI cuGraphGetEdges(CUgraph graph, CUgraphNode *from, CUgraphNode *to, size_t *count);

// These kept their parameters, but older drivers lack their new versions.
#undef cuEventElapsedTime
CUresult CUDAAPI cuEventElapsedTime(float *milliseconds, CUevent start, CUevent end);

#undef cuDeviceGetUuid
CUresult CUDAAPI cuDeviceGetUuid(CUuuid *uuid, CUdevice device);

#ifdef __cplusplus
}
#endif
#endif
