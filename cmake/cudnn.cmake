# cudnn.cmake: whether convolutions may be planned by cuDNN. Its headers are needed here, the library only
# at run time, and no device to plan (tests/cudnn).

set(KAPPA_HAVE_CUDNN OFF)
if(KAPPA_CUDA)
    set(places HINTS ENV CUDNN_PATH ENV CUDA_HOME ENV CUDA_PATH PATHS /usr/local/cuda PATH_SUFFIXES include)
    find_path(KAPPA_CUDNN_INCLUDE cudnn_graph.h ${places})
    find_path(KAPPA_CUDART_INCLUDE cuda_runtime_api.h ${places}) # which cuDNN's headers include
    if(KAPPA_CUDNN_INCLUDE AND KAPPA_CUDART_INCLUDE)
        file(STRINGS ${KAPPA_CUDNN_INCLUDE}/cudnn_version.h lines REGEX "define CUDNN_(MAJOR|MINOR) ")
        string(REGEX REPLACE ".*MAJOR ([0-9]+).*MINOR ([0-9]+).*" "\\1.\\2" KAPPA_CUDNN_VERSION "${lines}")
        # 9.8: plans from the description of a device
        if(KAPPA_CUDNN_VERSION VERSION_GREATER_EQUAL 9.8 AND KAPPA_CUDNN_VERSION VERSION_LESS 10)
            set(KAPPA_HAVE_CUDNN ON)
            target_compile_definitions(kp_flags INTERFACE KAPPA_HAVE_CUDNN)
        endif()
    endif()
endif()
message(STATUS "cuDNN plans: ${KAPPA_HAVE_CUDNN} ${KAPPA_CUDNN_VERSION}")
