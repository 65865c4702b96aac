#!/bin/sh
# smoke.sh: does the faceflow on the PATH work here, with nothing but /tmp to write to?
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
faceflow doctor
faceflow demo --max-queries 4 --output "$work/demo"
test -s "$work/demo/index.html"
