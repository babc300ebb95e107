# cuda.cmake: whether the CUDA backend is built. The kernels are compiled by nvcc, never executed here.

set(KAPPA_HAVE_CUDA OFF)
set(KAPPA_CUDA_ARCHS "80-real;90-real;100" CACHE STRING "GPU architectures to compile for")
