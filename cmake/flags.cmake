# flags.cmake: how everything is compiled, and the functions that add things.

include(GNUInstallDirs)

# Contraction is off so that one rounding sequence serves C, CUDA and every vector width; the two
# -fno options change no result and let gcc vectorise square roots and comparisons. OpenMP is used for
# its simd pragma alone (kernels/clip.h), which needs no library.
add_library(kp_flags INTERFACE)
target_compile_features(kp_flags INTERFACE c_std_17 cxx_std_17)
target_compile_options(kp_flags INTERFACE
    -Wall -Wextra -Werror -Wshadow=local
    $<$<COMPILE_LANGUAGE:C>:-Wstrict-prototypes -Wmissing-prototypes>
    -ffp-contract=off -fno-math-errno -fno-trapping-math -fvisibility=hidden
    $<$<COMPILE_LANGUAGE:C>:-fopenmp-simd>)
target_compile_definitions(kp_flags INTERFACE _GNU_SOURCE)
target_include_directories(kp_flags INTERFACE
    ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/kernels ${PROJECT_SOURCE_DIR}/csrc)
if(KAPPA_SANITIZE)
    target_compile_options(kp_flags INTERFACE
        -fsanitize=${KAPPA_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
    target_link_options(kp_flags INTERFACE -fsanitize=${KAPPA_SANITIZE})
endif()
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    set(KAPPA_X86 ON)
    target_compile_definitions(kp_flags INTERFACE KAPPA_X86)
endif()
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE)
    set(CMAKE_BUILD_TYPE Release)
endif()
set(CMAKE_C_FLAGS_RELEASE "-O3")
set(CMAKE_CXX_FLAGS_RELEASE "-O3")

# kp_add_room(NAME SOURCES ... [USES targets ...]): one folder of csrc, as objects of libkappa.
function(kp_add_room name)
    cmake_parse_arguments(room "" "" "SOURCES;USES" ${ARGN})
    add_library(kp_${name} OBJECT ${room_SOURCES})
    target_link_libraries(kp_${name} PRIVATE kp_flags ${room_USES})
    set_property(GLOBAL APPEND PROPERTY KAPPA_ROOMS kp_${name})
    set_property(GLOBAL APPEND PROPERTY KAPPA_USES ${room_USES})
endfunction()

# kp_add_test(NAME SOURCES ... [LABELS ...] [USES ...] [TIMEOUT s] [SOAK]): a Criterion program and its ctest.
# SOAK: only of ctest -C Soak.
function(kp_add_test name)
    cmake_parse_arguments(test "SOAK" "TIMEOUT" "SOURCES;LABELS;USES" ${ARGN})
    add_executable(test_${name} ${test_SOURCES})
    if(KAPPA_SANITIZE MATCHES "thread") # under which Criterion cannot start
        target_sources(test_${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests/tsan/main.c)
        target_include_directories(test_${name} BEFORE PRIVATE ${PROJECT_SOURCE_DIR}/tests/tsan)
    else()
        target_link_libraries(test_${name} PRIVATE PkgConfig::CRITERION)
    endif()
    target_link_libraries(test_${name} PRIVATE kp_flags kappa_static ${test_USES})
    target_include_directories(test_${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
    target_compile_definitions(test_${name} PRIVATE
        KP_TEST_DATA="${PROJECT_SOURCE_DIR}/tests/data" KP_SOURCE_DIR="${PROJECT_SOURCE_DIR}"
        KP_BUILD_DIR="${PROJECT_BINARY_DIR}" KP_PROGRAM="$<TARGET_FILE:kappa>")
    target_compile_options(test_${name} PRIVATE -Wno-missing-prototypes -Wno-strict-prototypes)
    set(configurations)
    if(test_SOAK)
        set(configurations CONFIGURATIONS Soak)
    endif()
    add_test(NAME ${name} ${configurations} COMMAND test_${name} -j1)
    if(NOT test_TIMEOUT)
        set(test_TIMEOUT 300)
    endif()
    set_tests_properties(${name} PROPERTIES TIMEOUT ${test_TIMEOUT} LABELS "${test_LABELS}")
endfunction()

# kp_embed(TARGET SYMBOL FILE): the file's bytes, with a 0 after them, as `const unsigned char SYMBOL[]`
# and its length as `const unsigned SYMBOL_bytes`, so that the program needs no data files at run time.
function(kp_embed target symbol file)
    set(out ${CMAKE_CURRENT_BINARY_DIR}/${symbol}.c)
    cmake_path(ABSOLUTE_PATH file BASE_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR})
    add_custom_command(OUTPUT ${out} DEPENDS ${file} ${PROJECT_SOURCE_DIR}/cmake/embed.cmake VERBATIM
        COMMAND ${CMAKE_COMMAND} -DIN=${file} -DOUT=${out} -DSYMBOL=${symbol}
                -P ${PROJECT_SOURCE_DIR}/cmake/embed.cmake)
    target_sources(${target} PRIVATE ${out})
endfunction()
