#!/usr/bin/env bash
# install.sh BUILD SPIRALS: installs BUILD into a folder of its own and builds programs against that, by
# find_package and by pkg-config, shared and static, C and C++. All must print what SPIRALS, built in the
# tree, does. CC, CXX and CMAKE name the tools.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
build=$1
work=$build/tests/install/work
prefix=$work/prefix
: "${CC:=cc}" "${CXX:=c++}" "${CMAKE:=cmake}"
warnings=(-Wall -Wextra -Wpedantic -Werror)

fail() { echo "install: $*" >&2; exit 1; }
same() { diff "$work/want" <("$1") || fail "$1 prints something else"; }
flags() { pkg-config "$@" kappa; }

rm -rf "$work"
mkdir -p "$work"
"$2" >"$work/want"
"$CMAKE" --install "$build" --prefix "$prefix" >/dev/null
"$prefix/bin/kappa" --version
pc=$(find "$prefix" -name kappa.pc)
[[ -n $pc ]] || fail "no kappa.pc in $prefix"
lib=$(dirname "$(dirname "$pc")")

# Headers: each alone, in C and C++. They and the shared library name the same functions.
for header in "$prefix"/include/kappa/*.h; do
    text="#include <kappa/$(basename "$header")>
          int not_empty;"
    "$CC" -std=c17 "${warnings[@]}" -I"$prefix/include" -fsyntax-only -x c - <<<"$text"
    "$CXX" -std=c++17 "${warnings[@]}" -I"$prefix/include" -fsyntax-only -x c++ - <<<"$text"
done
cat "$prefix"/include/kappa/*.h | tr '\n' ' ' | grep -oE 'KP_API [^;(]*\(' |
    grep -oE 'kp_[a-z0-9_]+\($' | tr -d '(' | sort >"$work/declared"
nm -D --defined-only "$lib/libkappa.so" | awk '{ print $3 }' | sort >"$work/exported"
diff "$work/declared" "$work/exported" || fail "what is declared (<) is not what is exported (>)"

# The CMake package: the example with the shared library, a C++ program with the static one.
by_package() { # source folder, build folder
    { "$CMAKE" -S "$1" -B "$2" -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_BUILD_TYPE=Release &&
        "$CMAKE" --build "$2"; } >"$2.log" 2>&1 || { cat "$2.log" >&2; fail "$1 does not build"; }
}
by_package "$root/examples" "$work/examples"
same "$work/examples/spirals"
by_package "$here/consumer" "$work/consumer"
"$work/consumer/consumer"

# Where nothing that Kappa is built on is found, the shared library is, and what the static one lacks is told.
export PKG_CONFIG_LIBDIR=$work/none
by_package "$root/examples" "$work/examples_alone"
if "$CMAKE" -S "$here/consumer" -B "$work/consumer_alone" -DCMAKE_PREFIX_PATH="$prefix" >"$work/alone.log" 2>&1; then
    fail "the static library is found without what it is built on"
fi
tr -s '\n ' ' ' <"$work/alone.log" | grep -q "to be linked with PkgConfig::FYAML, which is not found" || {
    cat "$work/alone.log" >&2
    fail "that says nothing of FYAML"
}
unset PKG_CONFIG_LIBDIR

# pkg-config, shared.
export PKG_CONFIG_PATH=$lib/pkgconfig
version=$(sed -n 's/^#define KP_VERSION "\(.*\)"/\1/p' "$prefix/include/kappa/version.h")
[[ $(flags --modversion) == "$version" ]] || fail "kappa.pc has version $(flags --modversion), version.h $version"
# shellcheck disable=SC2046 # flags are words
"$CC" -std=c17 -O2 "${warnings[@]}" "$root/examples/spirals.c" $(flags --cflags --libs) -lm -o "$work/shared"
LD_LIBRARY_PATH=$lib same "$work/shared"

# pkg-config, static, from a prefix that has moved and has no other library to take. All of the archive,
# so that every library it needs has to be named.
mv "$prefix" "$work/moved"
lib=${lib/#"$prefix"/"$work/moved"}
rm "$lib"/libkappa.so*
export PKG_CONFIG_PATH=$lib/pkgconfig
# shellcheck disable=SC2046
"$CC" -std=c17 -O2 "${warnings[@]}" "$root/examples/spirals.c" -Wl,--whole-archive "$lib/libkappa.a" \
    -Wl,--no-whole-archive $(flags --static --cflags --libs) -o "$work/static"
same "$work/static"
# shellcheck disable=SC2046
"$CXX" -std=c++17 -O2 "${warnings[@]}" "$here/consumer/consumer.cpp" $(flags --static --cflags --libs) -o "$work/static_cpp"
diff <("$work/static_cpp") <("$work/consumer/consumer") || fail "the C++ programs differ"
