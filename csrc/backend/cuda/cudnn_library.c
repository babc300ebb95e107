/* cudnn_library.c: loading the library. tests/hostcuda has another in its place. */
#include <dlfcn.h>
#include <stdio.h>

#include "cudnn_impl.h"

enum { OLDEST = 90800 }; /* plans from the description of a device */

#define NEXT "; install cuDNN 9.8 or later"

/* Never unloaded: it starts threads and exit handlers of its own. */
kp_status kp_cudnn_load(kp_cudnn_api *api, kp_err *err) {
    void *library = dlopen("libcudnn.so.9", RTLD_NOW | RTLD_LOCAL);
    if (!library) return kp_fail(err, KP_DEVICE, "%s" NEXT, dlerror());
#define FIND(name)                                                                                 \
    if (!(*(void **)&api->name = dlsym(library, #name)))                                           \
        return kp_fail(err, KP_DEVICE, "libcudnn.so.9 has no " #name NEXT);
    KP_CUDNN_FUNCTIONS(FIND)
#undef FIND
    if (api->cudnnGetVersion() < OLDEST)
        return kp_fail(err, KP_DEVICE, "libcudnn.so.9 is version %zu" NEXT, api->cudnnGetVersion());
    return KP_OK;
}
