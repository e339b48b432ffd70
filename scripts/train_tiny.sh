#!/bin/sh
# Train the shipped model and put it into the package:  scripts/train_tiny.sh CID22_FOLDER CLIC_FOLDER OUT
# Six runs, each beginning with the weights of the one before: crops of 64 px; of 128; by decibels alone, so that pictures
# that are nearly right are not made worse; two by Muon on crops of 128 px, which show more of what is hazy or dark; one on
# crops of 256 px with more of clean and compressed pictures, of which three tenths go into the mean that ships. About five
# hours of two cores. Run it again where it was cut off. The weights in the package are of a first run that was stopped after
# 15,428 of its 24,000 steps, a fourth that was stopped after 2,500 of 7,000 and a sixth that was stopped after 400 of 700.
# The wallpapers come from Debian's packages (apt, dpkg).
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
set -- --data "wallpapers=$out/wallpapers" --set optim.kind=muon --set 'dynet.variants={"l":0.85,"s":0.15}'
train fourth "$@" --set data.recipe=scripts/tiny_recipe.yaml --set data.size=128 --init "$out/third" --set seed=2 \
    --set steps=7000 --set optim.lr=1.5e-3 --set optim.warmup=300
train fifth "$@" --set data.recipe=scripts/tiny_recipe.yaml --set data.size=128 --init "$out/fourth" --set seed=3 \
    --set steps=3200 --set optim.lr=1.2e-3
train sixth "$@" --set data.recipe=scripts/tiny_recipe_clean.yaml --set data.size=256 --init "$out/fifth" --set seed=4 \
    --set steps=700 --set optim.lr=4e-4 --set optim.warmup=20 --set ema=0.99
python scripts/ship_tiny.py --share 0.3 "$out/first" "$out/second" "$out/third" "$out/fourth" "$out/fifth" "$out/sixth"
