# plants.cmake: bugs planted in the fused Adam kernel, each to be caught. A plant is the kernel's own
# text with one piece replaced; a piece that is no longer there is an error, so plants cannot rot.

file(READ ${kernels}/adam_clip/adam_clip.cu kernel)
file(READ ${kernels}/clip_cuda.h tally)
string(REPLACE "#pragma once\n" "" tally "${tally}")
string(REPLACE "#include \"clip_cuda.h\"\n" "${tally}" kernel "${kernel}")
string(REPLACE "#include \"adam_clip.h\"\n" "#include \"adam_clip/adam_clip.h\"\n" kernel "${kernel}")
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${kernels}/adam_clip/adam_clip.cu ${kernels}/clip_cuda.h)

# kp_add_plant(NAME FROM text TO text [PLAIN says] [ASAN says] [TSAN says]): what the comparison must
# print in which build. Not named: that build cannot see it.
function(kp_add_plant name)
    cmake_parse_arguments(PARSE_ARGV 1 plant "" "FROM;TO;PLAIN;ASAN;TSAN" "")
    string(REPLACE "${plant_FROM}" "${plant_TO}" text "${kernel}")
    if(text STREQUAL kernel)
        message(FATAL_ERROR "plant ${name}: '${plant_FROM}' is not in the kernel any more")
    endif()
    set(file ${CMAKE_CURRENT_BINARY_DIR}/plant_${name}.cu)
    file(CONFIGURE OUTPUT ${file} CONTENT "${text}" @ONLY)
    if(KAPPA_SANITIZE MATCHES "address")
        set(says "${plant_ASAN}")
    elseif(KAPPA_SANITIZE MATCHES "thread")
        set(says "${plant_TSAN}")
    else()
        set(says "${plant_PLAIN}")
    endif()
    if(NOT says)
        return()
    endif()
    kp_hostcuda_objects(hostcuda_plant_${name} ${file})
    target_compile_options(hostcuda_plant_${name} PRIVATE -Wno-unused-variable -Wno-unused-but-set-variable)
    add_executable(plant_${name} plant.c $<TARGET_OBJECTS:hostcuda_case> $<TARGET_OBJECTS:hostcuda>
                   $<TARGET_OBJECTS:hostcuda_plant_${name}> $<TARGET_OBJECTS:hostcuda_others>)
    target_link_libraries(plant_${name} PRIVATE kp_flags kappa_static)
    target_include_directories(plant_${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
    add_test(NAME hostcuda_plant_${name} COMMAND plant_${name})
    set_tests_properties(hostcuda_plant_${name} PROPERTIES
        PASS_REGULAR_EXPRESSION "${says}" TIMEOUT 300 LABELS hostcuda)
endfunction()

add_library(hostcuda_case OBJECT clip_case.c)
target_link_libraries(hostcuda_case PRIVATE kp_flags)
target_include_directories(hostcuda_case PRIVATE ${PROJECT_SOURCE_DIR}/tests)

set(differs "differs: adam")
set(race "WARNING: ThreadSanitizer: data race")

# No bug: the way a plant is made changes nothing.
kp_add_plant(nothing FROM "a block owns one chunk" TO "a block owns a chunk"
    PLAIN "equal" ASAN "equal" TSAN "equal")

kp_add_plant(missing_barrier
    FROM "    __syncthreads();\n" TO ""
    PLAIN "${differs}: tally" ASAN "${differs}: tally" TSAN "${race}")

kp_add_plant(barrier_in_a_branch
    FROM "    __syncthreads();\n    if (threadIdx.x) return;" TO "    if (threadIdx.x) return;\n    __syncthreads();"
    PLAIN "hostcuda: .*divergent barrier" ASAN "hostcuda: .*divergent barrier" TSAN "hostcuda: .*divergent barrier")

kp_add_plant(missing_lanes
    FROM "counts = __reduce_add_sync" TO "if (threadIdx.x != 5) counts = __reduce_add_sync"
    PLAIN "hostcuda: .*deadlock" ASAN "hostcuda: .*deadlock" TSAN "hostcuda: .*deadlock")

# One float4 past the last member: into the guard that the comparison looks at.
kp_add_plant(out_of_bounds
    FROM "    v[i] = vi;" TO "    v[i + (chunk == 14 && threadIdx.x == 255)] = vi;"
    PLAIN "differs: adam: moment 2: written outside" ASAN "differs: adam: moment 2: written outside"
    TSAN "differs: adam: moment 2: written outside")

# Past the guard.
kp_add_plant(far_out_of_bounds
    FROM "    m[i] = mi;" TO "    m[i] = mi; if (chunk == 14) m[i + 96] = mi;"
    ASAN "AddressSanitizer: heap-buffer-overflow")

kp_add_plant(past_shared_memory
    FROM "of_warp[threadIdx.x / 32] = counts" TO "of_warp[threadIdx.x / 32 + 1] = counts"
    PLAIN "${differs}: tally" ASAN "AddressSanitizer: heap-buffer-overflow" TSAN "${differs}: tally")

kp_add_plant(misaligned
    FROM "(const float4 *)a.grad)" TO "(const float4 *)(a.grad + 1))"
    ASAN "misaligned address")

kp_add_plant(bound_of_the_first_member
    FROM "a.bound[member * a.n_tensors + " TO "a.bound["
    PLAIN "differs: adam: theta" ASAN "differs: adam: theta" TSAN "differs: adam: theta")

kp_add_plant(lane_order
    FROM "mi.y, &vi.y" TO "mi.z, &vi.y"
    PLAIN "differs: adam: theta" ASAN "differs: adam: theta" TSAN "differs: adam: theta")

# One word for all warps, added to without an atomic: right on this machine in any order, wrong on a GPU.
kp_add_plant(racy_tally
    FROM "    if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = counts;\n"
    TO "    if (threadIdx.x < 8) of_warp[threadIdx.x] = 0;\n    __syncthreads();\n    if (threadIdx.x % 32 == 0) of_warp[1] += counts;\n    if (!threadIdx.x) counts = 0;\n"
    TSAN "${race}")

# Blocks that share a word of global memory: ordered by chance here, by nothing on a GPU.
kp_add_plant(race_between_blocks
    FROM "    kp_tally_chunk(counts, bound, &a.tally[chunk]);"
    TO "    kp_tally_chunk(counts, bound, &a.tally[chunk]); if (!threadIdx.x) a.tally[0].outside = 0;"
    TSAN "${race}")

kp_add_plant(clip_by_fminf
    FROM "x = kp_clip_count(x, bound, counts);" TO "float y = fmaxf(-bound, fminf(x, bound)); *counts += !(x == y); x = y;"
    PLAIN "differs: adam: theta" ASAN "differs: adam: theta" TSAN "differs: adam: theta")

# kp_add_backend_plant(NAME IN file of csrc/backend/cuda FROM text TO text SAYS says): the same for the backend
# on the emulated runtime, which says the same in every build.
function(kp_add_backend_plant name)
    cmake_parse_arguments(PARSE_ARGV 1 plant "" "IN;FROM;TO;SAYS" "")
    file(READ ${backend}/cuda/${plant_IN} source)
    string(REPLACE "${plant_FROM}" "${plant_TO}" text "${source}")
    if(text STREQUAL source)
        message(FATAL_ERROR "plant ${name}: '${plant_FROM}' is not in ${plant_IN} any more")
    endif()
    set(file ${CMAKE_CURRENT_BINARY_DIR}/plant_${name}.c)
    file(CONFIGURE OUTPUT ${file} CONTENT "${text}" @ONLY)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${backend}/cuda/${plant_IN})
    kp_hostcuda_backend(hostcuda_backend_${name} ${file}) # takes its place in the archive
    target_include_directories(hostcuda_backend_${name} PRIVATE ${backend}/cuda)
    add_executable(plant_${name} $<TARGET_OBJECTS:hostcuda_backend_${name}> $<TARGET_OBJECTS:hostcuda_plant_backend>
                   $<TARGET_OBJECTS:hostcuda>)
    target_link_libraries(plant_${name} PRIVATE kp_flags hostcuda_backend_archive kappa_static)
    add_test(NAME hostcuda_plant_${name} COMMAND plant_${name})
    set_tests_properties(hostcuda_plant_${name} PROPERTIES
        PASS_REGULAR_EXPRESSION "${plant_SAYS}" TIMEOUT 300 LABELS hostcuda)
endfunction()

add_library(hostcuda_backend_archive STATIC $<TARGET_OBJECTS:hostcuda_backend>)
add_library(hostcuda_plant_backend OBJECT plant_backend.c counts.c)
target_link_libraries(hostcuda_plant_backend PRIVATE kp_flags)
target_include_directories(hostcuda_plant_backend PRIVATE ${PROJECT_SOURCE_DIR}/tests)

kp_add_backend_plant(nothing_in_the_backend IN memory.c FROM "device memory, and" TO "memory of the device, and" SAYS "equal")

kp_add_backend_plant(missing_stream_synchronisation IN memory.c
    FROM "if (!st) st = KP_CUDA_CALL(c, err, cudaStreamSynchronize, c->stream)" TO ""
    SAYS "differs: a large upload")

kp_add_backend_plant(staging_that_waits_for_nothing IN memory.c
    FROM "KP_CUDA_CALL(c, err, cudaEventSynchronize, s->done[s->segment])" TO "KP_OK"
    SAYS "differs: a large upload")

kp_add_backend_plant(copy_of_pageable_memory IN memory.c
    FROM "memcpy(room, (const char *)from + done, n)" TO "room = (char *)(uintptr_t)from + done"
    SAYS "differs: a large upload")

kp_add_backend_plant(host_write_of_device_memory IN memory.c
    FROM "KP_CUDA_CALL(c, err, cudaMemsetAsync, p, 0, bytes, c->stream)" TO "(memset(p, 0, bytes), KP_OK)"
    SAYS "hostcuda: host write of device memory: byte 0 of ")

kp_add_backend_plant(host_read_of_device_memory IN plan.c
    FROM "now != plan->on_device[i]" TO "now != ((uint8_t *)plan->active)[i]"
    SAYS "hostcuda: host read of device memory: byte 0 of 2")

if(NOT KAPPA_SANITIZE) # whose heap lies where addresses look like counts (runtime/memory.c)
    kp_add_backend_plant(host_memory_for_a_kernel IN plan.c
        FROM ".active = plan->active" TO ".active = plan->on_device"
        SAYS "hostcuda: kernel is given the host address")
endif()

kp_add_backend_plant(scratch_too_small IN plan.c
    FROM "scratch_bytes, \"scratch" TO "scratch_bytes / 2, \"scratch"
    SAYS "hostcuda: kernel write of what lies beside device memory: byte 512 of 500")

kp_add_backend_plant(mask_sent_once IN plan.c
    FROM "changed |= now != plan->on_device[i]" TO "changed |= now && !plan->on_device[i]"
    SAYS "differs: counts")

kp_add_backend_plant(allocation_while_capturing IN plan.c
    FROM "    for (int i = 0; !st && i < p->n_steps; i++) {" TO "    void *more;\n    st = KP_CUDA_CALL(c, err, cudaMalloc, &more, 1);\n    for (int i = 0; !st && i < p->n_steps; i++) {"
    SAYS "failed: cuda:0: cudaMalloc: operation not permitted when stream is capturing")
