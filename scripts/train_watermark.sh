#!/bin/sh
# Train the watermark detector and put it into the package:  scripts/train_watermark.sh CID22_FOLDER CLIC_FOLDER OUT
# Fetches freely licensed photos from Debian's packages and, from PyPI, the text detector that training begins with (needs
# apt, dpkg, uv; nothing is installed). About an hour and a quarter of one core, ten minutes of a second one, 9 GB of memory.
set -eu
cid22="$1" clic="$2" out="$3" weights=million_ird/meters/weights
python scripts/free_photos.py "$out/photos"
uv pip install --quiet --no-deps --target "$out/ocr" rapidocr-onnxruntime==1.4.4
set -- --data "$cid22" --data "$clic" --data packages
for folder in "$out"/photos/*/; do set -- "$@" --data "${folder%/}"; done
OMP_NUM_THREADS=1 mird train detectors "$@" --out "$out/run" \
    --set init="$out/ocr/rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx" \
    --set pool=60000 --set precision=bfloat16 --set workers=2
for kind in onnx md json; do cp "$out/run/watermark.$kind" "$weights/watermark.$kind"; done
cp "$out/run/metrics.jsonl" "$weights/watermark.jsonl"
