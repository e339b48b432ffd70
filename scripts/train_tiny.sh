#!/bin/sh
# Train the shipped model and put it into the package:  scripts/train_tiny.sh CID22_FOLDER CLIC_FOLDER OUT
# Three runs: the second with larger crops (haze needs to see more of a picture), the third by decibels alone, so that
# pictures that are nearly right are not made worse. About three hours of one core. Run it again where it was cut off.
# The weights in the package are of a first run that was stopped after 15,428 of its 24,000 steps (90 minutes).
set -eu
first="$3/first" second="$3/second" third="$3/third"
train() {
    out="$1"
    shift
    if [ -f "$out/train.yaml" ]; then set -- "$@" --resume; fi
    mird train dynet --stage finetune --config scripts/tiny.yaml "$@" --out "$out"
}
train "$first" --data "cid22=$1" --data "clic=$2"
train "$second" --data "cid22=$1" --data "clic=$2" --init "$first" --set data.size=128 --set steps=2200 \
    --set optim.lr=3e-4 --set optim.floor=1e-6
train "$third" --data "cid22=$1" --data "clic=$2" --init "$second" --set data.size=96 --set steps=700 --set loss.l1=0 \
    --set optim.lr=1e-4 --set optim.floor=1e-6 --set ema=0.99 --set 'dynet.variants={"l":0.85,"s":0.15}'
python scripts/ship_tiny.py "$first" "$second" "$third"
