/* version.h: the version of the library; CMakeLists.txt has the same. */
#pragma once
#define KP_VERSION "0.1.0"
