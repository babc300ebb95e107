# install.cmake: the program, the library, its headers, a pkg-config file and a CMake package.
