/* python.h: what a Python interpreter has installed. */
#pragma once
#include <stddef.h>

#include "kappa/status.h"

/* The folder of an installed package, which is not imported. KP_DEVICE: no such interpreter or package. */
kp_status kp_python_package(const char *python, const char *package, char *dir, size_t size, kp_err *err);
