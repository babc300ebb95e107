# install.cmake: the program, the library, its headers, a pkg-config file and a CMake package.

include(CMakePackageConfigHelpers)

if(IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}" OR IS_ABSOLUTE "${CMAKE_INSTALL_INCLUDEDIR}")
    message(FATAL_ERROR "CMAKE_INSTALL_LIBDIR and CMAKE_INSTALL_INCLUDEDIR must be relative: "
                        "kappa.pc and the CMake package find the prefix from where they lie.")
endif()
set(kappa_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/kappa)

set_target_properties(kappa_shared PROPERTIES EXPORT_NAME kappa)
install(TARGETS kappa)
install(TARGETS kappa_shared EXPORT kappaTargets)
install(TARGETS kappa_static EXPORT kappaStaticTargets)
foreach(export kappaTargets kappaStaticTargets)
    install(EXPORT ${export} NAMESPACE kappa:: DESTINATION ${kappa_package_dir})
endforeach()
install(DIRECTORY include/kappa DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})

# What the static library is to be linked with: each of KAPPA_USES as pkg-config says it and as
# find_package does, before the exported targets name it.
set(KAPPA_REQUIRES)
set(KAPPA_LIBS "-pthread -lm")
set(KAPPA_FINDS)
get_property(uses GLOBAL PROPERTY KAPPA_USES)
list(REMOVE_DUPLICATES uses)
foreach(use ${uses})
    if(use MATCHES "^PkgConfig::(.+)$")
        set(name ${CMAKE_MATCH_1})
        string(APPEND KAPPA_REQUIRES " ${${name}_MODULE_NAME}")
        string(APPEND KAPPA_FINDS "pkg_check_modules(${name} QUIET IMPORTED_TARGET ${${name}_MODULE_NAME})\n")
    elseif(use STREQUAL "CUDA::cudart_static")
        string(APPEND KAPPA_LIBS " -L${CUDAToolkit_LIBRARY_DIR} -lcudart_static -ldl -lrt")
        string(APPEND KAPPA_FINDS "find_package(CUDAToolkit QUIET)\n")
    elseif(use MATCHES "^(stdc[+][+]|dl)$")
        string(APPEND KAPPA_LIBS " -l${use}")
    elseif(use MATCHES "/lib([^/]+)[.](so|a)$")
        string(APPEND KAPPA_LIBS " -l${CMAKE_MATCH_1}")
    else()
        message(FATAL_ERROR "install.cmake does not know how to name ${use} to users of the static library.")
    endif()
endforeach()
list(FILTER uses INCLUDE REGEX "::")
list(JOIN uses " " KAPPA_TARGETS)

# From the folder of kappa.pc up to the prefix.
file(RELATIVE_PATH KAPPA_UP /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
configure_file(cmake/kappa.pc.in kappa.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/kappa.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

configure_package_config_file(cmake/kappaConfig.cmake.in kappaConfig.cmake
                              INSTALL_DESTINATION ${kappa_package_dir})
# Before 1.0 a minor version may change the API.
write_basic_package_version_file(kappaConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/kappaConfig.cmake ${PROJECT_BINARY_DIR}/kappaConfigVersion.cmake
        DESTINATION ${kappa_package_dir})
