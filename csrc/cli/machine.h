/* machine.h: what the machine says of itself. */
#pragma once
#include <stddef.h>

void kp_processor_name(char *text, size_t size);
