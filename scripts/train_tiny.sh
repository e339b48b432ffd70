#!/bin/sh
# Train the shipped model and put it into the package:  scripts/train_tiny.sh CID22_FOLDER CLIC_FOLDER OUT
# Two runs, the second with larger crops (haze needs to see more of a picture). Run it again where it was cut off.
set -eu
first="$3/first" second="$3/second"
train() {
    out="$1"
    shift
    if [ -d "$out/model" ]; then return; fi
    if [ -f "$out/train.yaml" ]; then set -- "$@" --resume; fi
    mird train dynet --stage finetune --config scripts/tiny.yaml "$@" --out "$out"
}
train "$first" --data "cid22=$1" --data "clic=$2"
train "$second" --data "cid22=$1" --data "clic=$2" --init "$first" --set data.size=128 --set steps=7000 \
    --set optim.lr=3e-4 --set optim.floor=1e-6
python scripts/ship_tiny.py "$first" "$second"
