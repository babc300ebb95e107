/* cublas.c: cuBLAS, loaded when a GPU is opened and not before, so that the program starts and
 * trains on the CPU where there is none of it.
 *
 * The functions in use have here the names that they have there, for the kernels' launchers to
 * call, and pass the call on. Another is added by one line, and by its copy in tests/hostcuda. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>

#include "cuda_impl.h"

#define STRING(x) #x
#define SONAME(v) "libcublas.so." STRING(v)
#define LIBRARY   SONAME(CUBLAS_VER_MAJOR)

#define FUNCTIONS(X)                                                                               \
    X(cublasCreate_v2, (cublasHandle_t * handle), (handle))                                        \
    X(cublasDestroy_v2, (cublasHandle_t handle), (handle))                                         \
    X(cublasSetStream_v2, (cublasHandle_t handle, cudaStream_t stream), (handle, stream))          \
    X(cublasSetWorkspace_v2, (cublasHandle_t handle, void *workspace, size_t bytes),               \
      (handle, workspace, bytes))                                                                  \
    X(cublasSetMathMode, (cublasHandle_t handle, cublasMath_t mode), (handle, mode))               \
    X(cublasGemmStridedBatchedEx,                                                                  \
      (cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb, int m, int n,    \
       int k, const void *alpha, const void *A, cudaDataType typeA, int lda, long long strideA,    \
       const void *B, cudaDataType typeB, int ldb, long long strideB, const void *beta, void *C,   \
       cudaDataType typeC, int ldc, long long strideC, int count, cublasComputeType_t compute,     \
       cublasGemmAlgo_t algo),                                                                     \
      (handle, transa, transb, m, n, k, alpha, A, typeA, lda, strideA, B, typeB, ldb, strideB,     \
       beta, C, typeC, ldc, strideC, count, compute, algo))

#define POINTER(name, parameters, arguments) cublasStatus_t(*name) parameters;
static struct {
    FUNCTIONS(POINTER)
    const char *(*cublasGetStatusString)(cublasStatus_t status);
} library;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static void load(void);

#define FORWARD(name, parameters, arguments)                                                       \
    cublasStatus_t name parameters {                                                               \
        pthread_once(&once, load);                                                                 \
        return library.name ? library.name arguments : CUBLAS_STATUS_NOT_INITIALIZED;              \
    }
FUNCTIONS(FORWARD)

const char *cublasGetStatusString(cublasStatus_t status) {
    return library.cublasGetStatusString ? library.cublasGetStatusString(status)
                                         : "the library is not loaded";
}

static kp_status result;
static kp_err failure;
static char where[256];

static void *find(void *handle, const char *name) {
    void *function = dlsym(handle, name);
    if (!function && !result)
        result = kp_fail(&failure, KP_DEVICE, "%s has no %s; cuBLAS of CUDA %d is needed", LIBRARY,
                         name, CUBLAS_VER_MAJOR);
    return function;
}

static void load(void) {
    void *handle = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        const char *says = dlerror();
        result = kp_fail(&failure, KP_DEVICE,
                         "%s; install cuBLAS of CUDA %d, or name its folder in LD_LIBRARY_PATH, or "
                         "use device=cpu",
                         says ? says : LIBRARY, CUBLAS_VER_MAJOR);
        /* Where it lay when Kappa was built; the system's loader need not know of it. */
        handle = dlopen(KAPPA_CUBLAS_FOLDER "/" LIBRARY, RTLD_NOW | RTLD_LOCAL);
        if (!handle) return;
        result = KP_OK;
    }
#define FIND(name, parameters, arguments)                                                          \
    library.name = (__typeof__(library.name))find(handle, #name);
    FUNCTIONS(FIND)
    FIND(cublasGetStatusString, , )
    Dl_info is;
    if (!result && dladdr((void *)(uintptr_t)library.cublasCreate_v2, &is))
        snprintf(where, sizeof where, "%s", is.dli_fname);
}

kp_status kp_cublas_load(char *found, size_t size, kp_err *err) {
    pthread_once(&once, load);
    if (result) return kp_fail(err, result, "%s", failure.text);
    snprintf(found, size, "%s", where);
    return KP_OK;
}
