#!/bin/sh
# Train the shipped model and put it into the package:  scripts/train_tiny.sh CID22_FOLDER CLIC_FOLDER OUT
# Five runs, each beginning with the weights of the one before: crops of 64 px; of 128; by decibels alone, so that pictures
# that are nearly right are not made worse; then two by Muon on crops of 128 px, which show more of what is hazy or dark.
# About four hours of two cores. Run it again where it was cut off. The weights in the package are of a first run that was
# stopped after 15,428 of its 24,000 steps and a fourth that was stopped after 2,500 of 7,000. The wallpapers come from
# Debian's packages (apt, dpkg).
set -eu
cid22="$1" clic="$2" out="$3"
train() { # NAME CONFIGURATION...
    run="$out/$1"
    shift
    if [ -f "$run/train.yaml" ]; then set -- "$@" --resume; fi
    mird train dynet --stage finetune --config scripts/tiny.yaml --data "cid22=$cid22" --data "clic=$clic" "$@" --out "$run"
}
train first
train second --init "$out/first" --set data.size=128 --set steps=2200 --set optim.lr=3e-4 --set optim.floor=1e-6
train third --init "$out/second" --set data.size=96 --set steps=700 --set loss.l1=0 \
    --set optim.lr=1e-4 --set optim.floor=1e-6 --set ema=0.99 --set 'dynet.variants={"l":0.85,"s":0.15}'

python scripts/free_photos.py "$out/photos"
mkdir -p "$out/wallpapers"
for package in lomiri-wallpapers-16.04 lomiri-wallpapers-20.04 mate-backgrounds; do
    cp -r "$out/photos/$package" "$out/wallpapers"
done
set -- --data "wallpapers=$out/wallpapers" --set data.recipe=scripts/tiny_recipe.yaml --set data.size=128 \
    --set optim.kind=muon --set 'dynet.variants={"l":0.85,"s":0.15}'
train fourth "$@" --init "$out/third" --set seed=2 --set steps=7000 --set optim.lr=1.5e-3 --set optim.warmup=300
train fifth "$@" --init "$out/fourth" --set seed=3 --set steps=3200 --set optim.lr=1.2e-3
python scripts/ship_tiny.py "$out/first" "$out/second" "$out/third" "$out/fourth" "$out/fifth"
