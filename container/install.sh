#!/bin/sh
# install.sh SOURCE PREFIX [EXTRAS]: a virtual environment at PREFIX with faceflow from SOURCE in it.
set -eu
source=$1
prefix=$2
extras=${3:-}
python3 -m venv "$prefix"
"$prefix/bin/python" -m pip install --quiet --no-cache-dir "$source${extras:+[$extras]}"
"$prefix/bin/faceflow" --version
