# packages.cmake: what Kappa builds on. README.md says what each is for.

find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
pkg_check_modules(FYAML REQUIRED IMPORTED_TARGET libfyaml)   # YAML with line numbers
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)  # JSON
pkg_check_modules(ZSTD REQUIRED IMPORTED_TARGET libzstd)     # replay segments
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash) # checksums
pkg_check_modules(ZLIB REQUIRED IMPORTED_TARGET zlib)        # data sets in gzip
if(KAPPA_TESTS)
    pkg_check_modules(CRITERION REQUIRED IMPORTED_TARGET criterion)
    pkg_check_modules(PNG REQUIRED IMPORTED_TARGET libpng)   # they look into pictures
endif()
find_library(GIF_LIBRARY gif REQUIRED)                       # kappa eval --gif
set(KAPPA_VENV_PYTHON ${PROJECT_SOURCE_DIR}/build/venv/bin/python CACHE FILEPATH "Python with ale-py, for Atari workers and tests")
