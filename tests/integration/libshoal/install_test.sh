#!/bin/sh
# install_test: what "cmake --install" leaves is enough for the program that docs/CLIENT.md prints: it is compiled
# exactly as it stands there, by pkg-config, against the shared and the static library, and publishes to a real broker.
#
#     install_test.sh BUILD SOURCE SHOALD CC
set -eu
build=$1 source=$2 shoald=$3 cc=$4
work=$(mktemp -d)
broker=
trap 'test -z "$broker" || kill "$broker"; rm -rf "$work"' EXIT

cmake --install "$build" --prefix "$work/usr" >"$work/install.log"
test -f "$work/usr/include/shoal.h"
PKG_CONFIG_PATH=$(dirname "$(find "$work/usr" -name shoal.pc)")
libraries=$(dirname "$PKG_CONFIG_PATH")
export PKG_CONFIG_PATH

# the first block of C in the page, and the command behind it
sed -n '/^```c$/,$p' "$source/docs/CLIENT.md" | sed '1d;/^```$/,$d' >"$work/hello.c"
grep -q shoal_publish_wait "$work/hello.c"
cd "$work"
$cc hello.c $(pkg-config --define-prefix --cflags --libs shoal) -o hello
$cc hello.c $(pkg-config --define-prefix --cflags shoal) "$libraries/libshoal.a" \
    $(pkg-config --libs-only-l --static shoal | sed 's/-lshoal//') -o hello-static

"$shoald" --set listen.address=127.0.0.1:0 --set admin.address=127.0.0.1:0 2>broker.log &
broker=$!
tries=0
until grep -q '"event":"ready"' broker.log; do
    tries=$((tries + 1))
    test "$tries" -lt 100
    sleep 0.1
done
SHOAL_URL=ws://$(sed -n 's/.*"event":"ready","data":"\([^"]*\)".*/\1/p' broker.log)
export SHOAL_URL
LD_LIBRARY_PATH=$libraries ./hello
./hello-static

kill "$broker"
wait "$broker"
broker=
if LD_LIBRARY_PATH=$libraries ./hello >said; then
    echo "it succeeds without a broker" >&2
    exit 1
fi
grep -q 'is shoald running' said
