/* md5.h: MD5 (RFC 1321), to tell ROMs apart; no protection against malice. */
#pragma once
#include <stddef.h>
#include <stdint.h>

/* text: 32 hex digits and a 0. */
void kp_md5(const uint8_t *bytes, size_t n, char text[33]);
