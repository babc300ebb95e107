# plants.cmake: bugs planted in kernels, each to be caught. A plant is a kernel's own text, the headers of
# its device code included, with one piece replaced; a piece that is no longer there is an error, so
# plants cannot rot.

# kp_add_plant(NAME KERNEL folder/file ROW row of tests/kernels or stream_case.c [CLUSTER blocks] FROM text
# TO text [PLAIN says] [ASAN says] [TSAN says]): what the comparison must print in which build. Not named: that build cannot see
# it. A sanitizer's build leaves out those of which it says what the plain build says.
function(kp_add_plant name)
    cmake_parse_arguments(PARSE_ARGV 1 plant "" "KERNEL;ROW;CLUSTER;FROM;TO;PLAIN;ASAN;TSAN" "")
    set(source ${kernels}/${plant_KERNEL}.cu)
    file(READ ${source} kernel)
    foreach(header clip_cuda.h sum_cuda.h grad_norm/grad_norm_cuda.h mlp/mlp_cuda.h)
        cmake_path(GET header FILENAME file)
        file(READ ${kernels}/${header} text)
        string(REPLACE "#pragma once\n" "" text "${text}")
        string(REPLACE "#include \"${file}\"\n" "${text}" kernel "${kernel}")
        set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${source} ${kernels}/${header})
    endforeach()
    string(REPLACE "${plant_FROM}" "${plant_TO}" text "${kernel}")
    if(text STREQUAL kernel)
        message(FATAL_ERROR "plant ${name}: '${plant_FROM}' is not in ${plant_KERNEL}.cu any more")
    endif()
    # Each rule of a small network takes seconds to compile, and the row has one.
    string(REGEX REPLACE "launch<KP_MLP_(SGD|MOMENTUM|RMSPROP|RMSPROP_CENTERED)>" "nullptr" text "${text}")
    if(KAPPA_SANITIZE MATCHES "address")
        set(says "${plant_ASAN}")
    elseif(KAPPA_SANITIZE MATCHES "thread")
        set(says "${plant_TSAN}")
    else()
        set(says "${plant_PLAIN}")
    endif()
    if(NOT says OR (KAPPA_SANITIZE AND says STREQUAL plant_PLAIN))
        return()
    endif()
    set(file ${CMAKE_CURRENT_BINARY_DIR}/plant_${name}.cu)
    file(CONFIGURE OUTPUT ${file} CONTENT "${text}" @ONLY)
    kp_hostcuda_objects(hostcuda_plant_${name} ${file})
    target_compile_options(hostcuda_plant_${name} PRIVATE -O1 -Wno-unused-variable -Wno-unused-but-set-variable)
    cmake_path(GET plant_KERNEL PARENT_PATH folder)
    target_include_directories(hostcuda_plant_${name} PRIVATE ${kernels}/${folder})
    set(others ${element_objects})
    cmake_path(GET plant_KERNEL FILENAME planted)
    list(REMOVE_ITEM others $<TARGET_OBJECTS:hostcuda_${planted}>)
    add_executable(plant_${name} plant.c $<TARGET_OBJECTS:hostcuda_case> $<TARGET_OBJECTS:hostcuda_mlp_case> $<TARGET_OBJECTS:hostcuda>
                   $<TARGET_OBJECTS:hostcuda_plant_${name}> ${others} ${layer_objects})
    target_link_libraries(plant_${name} PRIVATE kp_flags kappa_static)
    target_include_directories(plant_${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
    add_test(NAME hostcuda_plant_${name} COMMAND plant_${name} "${plant_ROW}" ${plant_CLUSTER})
    set_tests_properties(hostcuda_plant_${name} PROPERTIES
        PASS_REGULAR_EXPRESSION "${says}" TIMEOUT 300 LABELS hostcuda)
endfunction()

set(race "WARNING: ThreadSanitizer: data race")
set(overflow "AddressSanitizer: heap-buffer-overflow")
function(everywhere variable says)
    set(${variable} PLAIN "${says}" ASAN "${says}" TSAN "${says}" PARENT_SCOPE)
endfunction()
set(returned "hostcuda: .*of the cluster, which has returned")
set(begun "hostcuda: .*of the cluster, which may not have begun")
everywhere(equal "equal")
everywhere(wrong "differs:")
everywhere(divergent "hostcuda: .*divergent barrier")
everywhere(deadlock "hostcuda: .*deadlock")
everywhere(not_in_the_mask "hostcuda: .*not in the mask")
everywhere(past_the_end "written past its end")

# ---- the fused update --------------------------------------------------------------------------------

set(adam KERNEL adam_clip/adam_clip ROW "adam_clip")

# No bug: the way a plant is made changes nothing.
kp_add_plant(nothing ${adam} FROM "a block owns one chunk" TO "a block owns a chunk"
    ${equal})

kp_add_plant(missing_barrier ${adam}
    FROM "    __syncthreads();\n" TO ""
    PLAIN "differs:" ASAN "differs:" TSAN "${race}")

kp_add_plant(barrier_in_a_branch ${adam}
    FROM "    __syncthreads();\n    if (threadIdx.x) return;" TO "    if (threadIdx.x) return;\n    __syncthreads();"
    ${divergent})

kp_add_plant(missing_lanes ${adam}
    FROM "counts = __reduce_add_sync" TO "if (threadIdx.x != 5) counts = __reduce_add_sync"
    ${deadlock})

# One float4 past the last member: into the guard that the comparison looks at.
kp_add_plant(out_of_bounds ${adam}
    FROM "    v[i] = vi;" TO "    v[i + (chunk == 104 && threadIdx.x == 255)] = vi;"
    ${past_the_end})

# Past the guard.
kp_add_plant(far_out_of_bounds ${adam}
    FROM "    m[i] = mi;" TO "    m[i] = mi; if (chunk == 104) m[i + 96] = mi;"
    ASAN "${overflow}")

kp_add_plant(past_shared_memory ${adam}
    FROM "of_warp[threadIdx.x / 32] = counts" TO "of_warp[threadIdx.x / 32 + 1] = counts"
    PLAIN "differs:" ASAN "${overflow}" TSAN "differs:")

kp_add_plant(misaligned ${adam}
    FROM "(const float4 *)a.grad)" TO "(const float4 *)(a.grad + 1))"
    ASAN "misaligned address")

kp_add_plant(bound_of_the_first_member ${adam}
    FROM "a.bound[member * a.n_tensors + " TO "a.bound["
    ${wrong})

kp_add_plant(lane_order ${adam}
    FROM "mi.y, &vi.y" TO "mi.z, &vi.y"
    ${wrong})

# One word for all warps, added to without an atomic: right on this machine in any order, wrong on a GPU.
kp_add_plant(racy_tally ${adam}
    FROM "    if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = counts;\n"
    TO "    if (threadIdx.x < 8) of_warp[threadIdx.x] = 0;\n    __syncthreads();\n    if (threadIdx.x % 32 == 0) of_warp[1] += counts;\n    if (!threadIdx.x) counts = 0;\n"
    TSAN "${race}")

# Blocks that share a word of global memory: ordered by chance here, by nothing on a GPU.
kp_add_plant(race_between_blocks ${adam}
    FROM "    kp_tally_chunk(counts, bound, &a.tally[chunk]);"
    TO "    kp_tally_chunk(counts, bound, &a.tally[chunk]); if (!threadIdx.x) a.tally[0].outside = 0;"
    TSAN "${race}")

kp_add_plant(clip_by_fminf ${adam}
    FROM "x = kp_clip_count(x, bound, counts);" TO "float y = fmaxf(-bound, fminf(x, bound)); *counts += !(x == y); x = y;"
    ${wrong})

# ---- sums over the minibatch -------------------------------------------------------------------------

set(td_loss KERNEL td_loss/td_loss ROW "td_loss, many samples")

kp_add_plant(terms_not_awaited ${td_loss}
    FROM "        __syncthreads();\n        if (!threadIdx.x)" TO "        if (!threadIdx.x)"
    PLAIN "differs:" ASAN "differs:" TSAN "${race}")

kp_add_plant(missing_second_barrier ${td_loss}
    FROM "        __syncthreads(); /* before the next terms take their place */\n" TO ""
    PLAIN "differs:" ASAN "differs:" TSAN "${race}")

kp_add_plant(barrier_of_some ${td_loss}
    FROM "        __syncthreads();\n        if (!threadIdx.x)" TO "        if ((int)threadIdx.x < count) __syncthreads();\n        if (!threadIdx.x)"
    ${divergent})

kp_add_plant(too_many_terms ${td_loss}
    FROM "KP_SHARED(Term, terms, KP_SUM_THREADS)" TO "KP_SHARED(Term, terms, KP_SUM_THREADS - 1)"
    ASAN "${overflow}")

kp_add_plant(sum_of_products_rounded_twice ${td_loss}
    FROM "fmaf(t.x, t.y, s)" TO "s + t.x * t.y"
    ${wrong})

kp_add_plant(running_sum_of_inactive_members KERNEL td_stats/td_stats ROW "td_stats"
    FROM "active[blockIdx.x]" TO "active[blockIdx.y]"
    ${wrong})

# ---- the gradient norm -------------------------------------------------------------------------------

set(norm KERNEL grad_norm/grad_norm_chunks ROW "grad_norm_chunks")

# The lanes of a chunk that does not exist have returned; the others' mask names them.
kp_add_plant(return_before_a_shuffle ${norm}
    FROM "0xffffu << (threadIdx.x & 16)" TO "0xffffffffu"
    ${deadlock})

kp_add_plant(shuffle_from_outside_its_mask ${norm}
    FROM "__shfl_sync(half, sum, k, KP_NORM_SUMS)" TO "__shfl_sync(half, sum, k, 32)"
    ${not_in_the_mask})

kp_add_plant(chunk_past_the_last ${norm}
    FROM "    if (c >= a.n_chunks) return; /* the whole half */\n" TO ""
    PLAIN "written past its end" ASAN "${overflow}" TSAN "written past its end")

# Lanes that hand over shared memory at a shuffle, which orders none.
kp_add_plant(shuffle_for_a_barrier ${norm}
    FROM "    if (!lane) a.partial[chunk] = sum;"
    TO "    KP_SHARED(double, total, CHUNKS);\n    if (lane == 1) total[threadIdx.x / KP_NORM_SUMS] = sum;\n    sum = __shfl_sync(0xffffu << (threadIdx.x & 16), sum, 1, KP_NORM_SUMS);\n    if (!lane) a.partial[chunk] = total[threadIdx.x / KP_NORM_SUMS];"
    TSAN "${race}")

# ---- stacks, copies, tallies -------------------------------------------------------------------------

set(stack KERNEL gather_stack/gather_stack)

kp_add_plant(pixels_not_awaited ${stack} ROW "gather_stack of 4"
    FROM "    __syncthreads();\n" TO ""
    PLAIN "differs:" ASAN "differs:" TSAN "${race}")

kp_add_plant(words_of_odd_frames ${stack} ROW "gather_stack of 4, / 255"
    FROM "pixels % 4 == 0 && a->frames_stride % 4 == 0 &&" TO ""
    ASAN "misaligned address")

kp_add_plant(pixel_past_the_last ${stack} ROW "gather_stack of 3, / 255"
    FROM "if (pixel >= pixels) return;" TO "if (pixel >= pixels + 3) return;"
    ${past_the_end})

kp_add_plant(float4s_of_an_odd_copy KERNEL copy/copy ROW "copy of an odd size"
    FROM "a->n % 4 == 0 &&" TO ""
    ${wrong})

kp_add_plant(last_block_of_a_copy KERNEL copy/copy ROW "copy of an odd size"
    FROM "if (i < n)" TO "if (i < n + 8)"
    ${wrong})

kp_add_plant(tally_of_one_warp KERNEL tally_sum/tally_sum ROW "tally_sum"
    FROM "w = 1; w < WARPS" TO "w = 2; w < WARPS"
    ${wrong})

# ---- small networks ----------------------------------------------------------------------------------

set(stream KERNEL mlp/mlp_stream ROW "adam, tanh, norm, permuted")

kp_add_plant(nothing_in_a_cluster ${stream} CLUSTER 4 FROM "a member is a team's" TO "a member is one team's"
    ${equal})

# Blocks that read what a neighbour sends before it has been awaited.
kp_add_plant(inputs_of_other_blocks_not_awaited ${stream} CLUSTER 4
    FROM "            sync();\n            const float *xs" TO "            if (l) __syncthreads();\n            else sync();\n            const float *xs"
    PLAIN "differs:" ASAN "differs:" TSAN "${race}")

kp_add_plant(dx_of_other_blocks_not_awaited ${stream} CLUSTER 4
    FROM "        sync();\n        for (int i" TO "        __syncthreads();\n        for (int i"
    PLAIN "differs:" ASAN "differs:" TSAN "${race}")

# Right on this machine in any order; a block of a GPU may be a sum ahead of another.
kp_add_plant(sums_in_one_place ${stream} CLUSTER 4
    FROM "        turn ^= 1;\n" TO ""
    TSAN "${race}")

kp_add_plant(block_that_leaves_early ${stream} CLUSTER 4
    FROM "    if (tensor < n) {" TO "    if (!team.rank) return;\n    if (tensor < n) {"
    PLAIN "${returned}" ASAN "${returned}" TSAN "${returned}")

# A block's tally takes the place of what the first may still be reading.
kp_add_plant(tallies_too_early ${stream} CLUSTER 4
    FROM "    team.sync(); /* nobody needs" TO "    __syncthreads(); /* nobody needs"
    TSAN "${race}")

kp_add_plant(memory_of_a_block_that_has_not_begun ${stream} CLUSTER 4
    FROM "        __syncthreads();\n    }\n\n    __device__ __forceinline__ void load"
    TO "        send_all(shared, 0.0f);\n        __syncthreads();\n    }\n\n    __device__ __forceinline__ void load"
    PLAIN "${begun}" ASAN "${begun}" TSAN "${begun}")

kp_add_plant(dx_added_in_the_order_of_blocks ${stream} CLUSTER 4
    FROM "        for (int n = size / 2; n > 0; n /= 2)\n            for (int k = 0; k < n; k++) sum[k] += sum[k + n];"
    TO "        for (int k = 1; k < size; k++) sum[0] += sum[k];"
    ${wrong})

kp_add_plant(dx_of_updated_weights ${stream}
    FROM "if (l) sum = fmaf(w[at], ds[i], sum);\n                step(at, i < units_ ? xj * ds[i] : 0.0f);"
    TO "step(at, i < units_ ? xj * ds[i] : 0.0f);\n                if (l) sum = fmaf(w[at], ds[i], sum);"
    ${wrong})

set(elsewhere "hostcuda: .*instead")
kp_add_plant(lanes_without_an_input_leave ${stream}
    FROM "            for (int i = lane; is_there" TO "            if (!is_there) break;\n            for (int i = lane; is_there"
    PLAIN "${elsewhere}" ASAN "${elsewhere}" TSAN "${elsewhere}")

kp_add_plant(next_sample_in_the_place_of_this ${stream}
    FROM "t + 1), next);" TO "t + 1), x0);"
    ${wrong})

kp_add_plant(no_room_for_tallies ${stream}
    FROM "2 * m.warps * s->n_tensors)" TO "8)"
    ASAN "${overflow}")

kp_add_plant(activity_of_the_first_member ${stream} CLUSTER 2
    FROM "active[member]" TO "active[0]"
    ${wrong})

# ---- the backend -------------------------------------------------------------------------------------

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
