#!/bin/sh
# models.sh PREFIX FOLDER: fetch the default models into FOLDER, by the faceflow of PREFIX.
set -eu
prefix=$1
FACEFLOW_CACHE=$2
export FACEFLOW_CACHE
mkdir -p "$FACEFLOW_CACHE"
"$prefix/bin/faceflow" models pull
"$prefix/bin/faceflow" models verify
