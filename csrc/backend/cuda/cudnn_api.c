/* cudnn_api.c: descriptors. */
#include <stdio.h>
#include <stdlib.h>

#include "cudnn_impl.h"

kp_status kp_cudnn_find(char *found, size_t size, kp_err *err) {
    kp_cudnn_api api;
    kp_status st = kp_cudnn_load(&api, err);
    if (st) return st;
    size_t v = api.cudnnGetVersion();
    snprintf(found, size, "%zu.%zu.%zu", v / 10000, v / 100 % 100, v % 100);
    return KP_OK;
}

kp_status kp_cudnn_check(const kp_cudnn *c, cudnnStatus_t code, const char *what, const char *call,
                         kp_err *err) {
    if (code == CUDNN_STATUS_SUCCESS) return KP_OK;
    char why[160] = "";
    c->api.cudnnGetLastErrorString(why, sizeof why);
    return kp_fail(err, KP_DEVICE, "%s, %s: %s: %s (%s)", c->text, what, call,
                   c->api.cudnnGetErrorString(code), why);
}

static int failed(kp_cudnn_maker *m, cudnnStatus_t code, const char *call) {
    m->st = kp_cudnn_check(m->cudnn, code, m->what, call, m->err);
    return m->st != KP_OK;
}

cudnnBackendDescriptor_t kp_cudnn_make(kp_cudnn_maker *m, cudnnBackendDescriptorType_t type) {
    if (m->st) return NULL;
    if (m->n == KP_CUDNN_MADE) {
        m->st = kp_fail(m->err, KP_DEVICE, "%s, %s: more than %d descriptors", m->cudnn->text,
                        m->what, KP_CUDNN_MADE);
        return NULL;
    }
    char call[64];
    snprintf(call, sizeof call, "cudnnBackendCreateDescriptor(%d)", (int)type);
    cudnnBackendDescriptor_t d = NULL;
    if (failed(m, m->cudnn->api.cudnnBackendCreateDescriptor(type, &d), call)) return NULL;
    return m->made[m->n++] = d;
}

void kp_cudnn_set(kp_cudnn_maker *m, cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name,
                  cudnnBackendAttributeType_t type, int64_t n, const void *values) {
    if (m->st) return;
    char call[64];
    snprintf(call, sizeof call, "cudnnBackendSetAttribute(%d)", (int)name);
    failed(m, m->cudnn->api.cudnnBackendSetAttribute(d, name, type, n, values), call);
}

void kp_cudnn_link(kp_cudnn_maker *m, cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name,
                   cudnnBackendDescriptor_t to) {
    kp_cudnn_set(m, d, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &to);
}

int64_t kp_cudnn_get(kp_cudnn_maker *m, cudnnBackendDescriptor_t d,
                     cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t n,
                     void *values) {
    if (m->st) return 0;
    char call[64];
    snprintf(call, sizeof call, "cudnnBackendGetAttribute(%d)", (int)name);
    int64_t count = 0;
    cudnnStatus_t code = m->cudnn->api.cudnnBackendGetAttribute(d, name, type, n, &count, values);
    return failed(m, code, call) ? 0 : count;
}

char *kp_cudnn_get_text(kp_cudnn_maker *m, cudnnBackendDescriptor_t d,
                        cudnnBackendAttributeName_t name) {
    int64_t n = kp_cudnn_get(m, d, name, CUDNN_TYPE_CHAR, 0, NULL);
    char *text = m->st ? NULL : calloc((size_t)n + 1, 1);
    if (!text) {
        if (!m->st) m->st = kp_fail(m->err, KP_DEVICE, "%s: out of host memory", m->what);
        return NULL;
    }
    kp_cudnn_get(m, d, name, CUDNN_TYPE_CHAR, n, text);
    if (!m->st) return text;
    free(text);
    return NULL;
}

void kp_cudnn_finalize(kp_cudnn_maker *m, cudnnBackendDescriptor_t d) {
    if (!m->st) failed(m, m->cudnn->api.cudnnBackendFinalize(d), "cudnnBackendFinalize");
}

void kp_cudnn_keep(kp_cudnn_maker *m, cudnnBackendDescriptor_t d) {
    for (int i = 0; i < m->n; i++)
        if (m->made[i] == d) m->made[i] = m->made[--m->n];
}

void kp_cudnn_release(kp_cudnn_maker *m) {
    while (m->n) m->cudnn->api.cudnnBackendDestroyDescriptor(m->made[--m->n]);
}
