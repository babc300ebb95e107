# cuda_static.cmake: limits on the compiled kernels, where nvcc is.

find_program(KAPPA_NVCC nvcc HINTS ENV CUDA_HOME ENV CUDA_PATH PATHS /usr/local/cuda PATH_SUFFIXES bin)
find_package(Python3 COMPONENTS Interpreter)
if(KAPPA_NVCC AND Python3_FOUND AND NOT KAPPA_SANITIZE)
    add_test(NAME cuda_static COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/cuda_static.py
             ${KAPPA_NVCC} ${PROJECT_SOURCE_DIR} ${CMAKE_CURRENT_BINARY_DIR})
    set_tests_properties(cuda_static PROPERTIES TIMEOUT 900 PROCESSORS 2 LABELS cuda-static)
endif()
