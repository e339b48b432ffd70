#!/bin/sh
# Train both detectors and put them into the package:  scripts/train_detectors.sh CID22_FOLDER CLIC_FOLDER OUT
# Fetches freely licensed photos from Debian's packages and, from PyPI, the text detector that the watermark's training begins
# with (needs apt, dpkg, uv; nothing is installed). About two hours of one core, twenty minutes of a second one, 9 GB of memory.
set -eu
cid22="$1" clic="$2" out="$3" weights=million_ird/meters/weights
python scripts/free_photos.py "$out/photos"
uv pip install --quiet --no-deps --target "$out/ocr" rapidocr-onnxruntime==1.4.4
export OMP_NUM_THREADS=1

# In this order: another one is another draw.
set -- --data "$cid22" --data "$clic" --data packages
for folder in "$out"/photos/*/; do
    case "$folder" in *ufoai-textures/) continue ;; esac # textures are no photos: how noisy one is can't be seen
    set -- "$@" --data "${folder%/}"
done
mird train detectors --only artefacts "$@" --out "$out/artefacts"
for kind in onnx md json jsonl; do cp "$out/artefacts/artefacts.$kind" "$weights/artefacts.$kind"; done

set -- --data "$cid22" --data "$clic" --data packages
for folder in "$out"/photos/*/; do set -- "$@" --data "${folder%/}"; done
mird train detectors "$@" --out "$out/watermark" \
    --set init="$out/ocr/rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx" \
    --set precision=bfloat16
for kind in onnx md json; do cp "$out/watermark/watermark.$kind" "$weights/watermark.$kind"; done
cp "$out/watermark/metrics.jsonl" "$weights/watermark.jsonl"
