#!/bin/sh
# install.sh SOURCE PREFIX: a virtual environment at PREFIX with faceflow from SOURCE in it.
set -eu
source=$1
prefix=$2
python3 -m venv "$prefix"
"$prefix/bin/python" -m pip install --quiet --no-cache-dir "$source"
"$prefix/bin/faceflow" --version
