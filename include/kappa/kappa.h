/* kappa.h: the public API of libkappa: everything that is exported. For C17 and C++. */
#pragma once
#include "population.h"
#include "status.h"
#include "version.h"
