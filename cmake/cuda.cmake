# cuda.cmake: whether the CUDA backend and its kernels are built. They compile, link and are tested without
# a GPU (tests/hostcuda). The program starts without any library of CUDA: the runtime is linked statically
# and looks for the driver itself, cuBLAS is loaded when a GPU is opened (csrc/backend/cuda/cublas.c).

set(KAPPA_CUDA_ARCHS "80-real;90-real;100" CACHE STRING "GPU architectures to compile for")
set(KAPPA_CUDA_KERNELS OFF)

if(KAPPA_CUDA)
    find_program(KAPPA_NVCC nvcc HINTS ENV CUDA_HOME ENV CUDA_PATH PATHS /usr/local/cuda PATH_SUFFIXES bin)
    if(KAPPA_NVCC)
        set(CMAKE_CUDA_COMPILER ${KAPPA_NVCC})
        set(CMAKE_CUDA_ARCHITECTURES ${KAPPA_CUDA_ARCHS})
        enable_language(CUDA)
        find_package(CUDAToolkit 12 REQUIRED)
        set(KAPPA_CUDA_KERNELS ON)
    elseif(NOT KAPPA_CUDA STREQUAL "AUTO")
        message(FATAL_ERROR "KAPPA_CUDA=${KAPPA_CUDA}, but there is no nvcc on PATH, in CUDA_HOME or in "
                            "/usr/local/cuda. Install the CUDA Toolkit, or configure with KAPPA_CUDA=OFF.")
    endif()
endif()
message(STATUS "CUDA: ${KAPPA_CUDA_KERNELS}")

# kp_add_cuda_kernels(FILES ...): .cu files as objects of libkappa; where they are not built, only listed
# for tests/hostcuda.
# -fmad=false, IEEE division and roots: one rounding sequence with the CPU (flags.cmake).
function(kp_add_cuda_kernels)
    list(TRANSFORM ARGN PREPEND ${CMAKE_CURRENT_SOURCE_DIR}/)
    set_property(GLOBAL APPEND PROPERTY KAPPA_CUDA_SOURCES ${ARGN})
    if(NOT KAPPA_CUDA_KERNELS)
        return()
    endif()
    add_library(kp_cuda_kernels OBJECT ${ARGN})
    target_compile_features(kp_cuda_kernels PRIVATE cuda_std_17)
    target_compile_options(kp_cuda_kernels PRIVATE -fmad=false -prec-div=true -prec-sqrt=true
        -Werror all-warnings -Xcompiler -Wall,-Wextra,-Werror,-ffp-contract=off,-fvisibility=hidden)
    target_include_directories(kp_cuda_kernels PRIVATE ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/kernels
        ${PROJECT_SOURCE_DIR}/csrc) # base/philox.h
    set_property(GLOBAL APPEND PROPERTY KAPPA_ROOMS kp_cuda_kernels)
    # nvcc makes C++ of a kernel's host side; C programs that link the static library name its runtime
    set_property(GLOBAL APPEND PROPERTY KAPPA_USES CUDA::cudart_static stdc++)
    target_compile_definitions(kp_flags INTERFACE KAPPA_CUDA_KERNELS KAPPA_HAVE_CUDA)
endfunction()
