#!/usr/bin/env bash
# From nothing to a published dataset and a published model, offline: the whole of million-ird in a few minutes.
#
#     make setup && examples/end_to_end.sh [FOLDER]
#
# build -> degrade -> train -> eval -> restore -> publish both -> load both back. The photos come with scikit-image and
# scikit-learn; the Hub is a server on loopback that this script starts (that of the tests), spoken to by the real
# client. FOLDER (default: end-to-end) is deleted first if it is of a former run. Exit code 1 where what comes back
# from the Hub is not what was made, or the network has learnt nothing.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
folder=${1:-end-to-end}
python=${PYTHON:-$root/.venv/bin/python}
[ -x "$python" ] || python=python3

if [ -e "$folder" ] && [ ! -e "$folder/.end-to-end" ]; then
    echo "end_to_end.sh: $folder: exists and is of no former run; name another folder" >&2
    exit 2
fi
rm -rf "$folder"
mkdir -p "$folder"
touch "$folder/.end-to-end"
folder=$(cd "$folder" && pwd)

report=()
step() { # step TITLE WORDS...: say it, do it, say how long it took
    local title=$1 from=$SECONDS
    shift
    printf '\n== %s\n$ %s\n' "$title" "$*"
    (cd "$folder" && "$@")
    report+=("$(printf '%-28s %4d s' "$title" $((SECONDS - from)))")
}
mird() { "$python" -m million_ird "$@"; }
end_to_end.py() { "$python" "$root/examples/end_to_end.py" "$@"; }

# Nothing but the local Hub is asked for anything, and nothing of the user's (token, cache) is touched.
"$python" "$root/examples/end_to_end.py" hub "$folder/hub.txt" & # not by the function: it is this process that is ended
hub=$!
trap 'kill "$hub" 2>/dev/null || true' EXIT
for _ in $(seq 600); do [ -e "$folder/hub.txt" ] || sleep 0.1; done
[ -e "$folder/hub.txt" ] || { echo "end_to_end.sh: the local Hub did not start" >&2; exit 1; }
HF_ENDPOINT=$(cat "$folder/hub.txt")
export HF_ENDPOINT HF_HOME=$folder/cache HF_TOKEN=hf_local HF_HUB_DISABLE_XET=1 HF_HUB_DISABLE_TELEMETRY=1
export HF_DATASETS_DISABLE_PROGRESS_BARS=1 HF_HUB_DISABLE_PROGRESS_BARS=1
export NO_PROXY=127.0.0.1 no_proxy=127.0.0.1
unset HF_HUB_OFFLINE HF_DATASETS_OFFLINE HF_HUB_CACHE HF_DATASETS_CACHE
echo "a Hub of our own: $HF_ENDPOINT"

tiny="--set model=dynet-tiny --set data.size=64 --set batch=4 --set ema=0.97 --set optim.lr=0.001 --set run.workers=0"
step "photos" end_to_end.py photos .
step "build" mird build photos.parquet --out build --set policy.resolution.min_side=160 --set "export.name=Local crops"
step "degrade" mird degrade build --out pairs --recipe denoise --per-image 6 --size 128
step "verify the pairs" mird verify pairs
# shellcheck disable=SC2086
step "train" mird train dynet --data denoise=pairs --out run --steps "${STEPS:-200}" $tiny
step "eval" mird eval --model run/model --on held-out=clean,sigma=25 --ledger build --out eval.json
step "restore" mird restore noisy --model run/model --out restored
step "publish the dataset" mird publish dataset build --repo local/crops --contact "examples/end_to_end.sh"
step "publish the model" mird publish model run --repo local/dynet-tiny --eval eval.json --licence apache-2.0
step "load both back" end_to_end.py check .

printf '\n'
printf '%s\n' "${report[@]}"
printf '%-28s %4d s\n\n' "in all" "$SECONDS"
for made in build/report.html build/dataset/README.md pairs run/model restored eval.md; do
    [ -e "$folder/$made" ] && echo "made: $folder/$made"
done
echo "published to the local Hub, loaded from there and compared: local/crops, local/dynet-tiny"
