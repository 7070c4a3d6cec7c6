#!/usr/bin/env bash
# The comparison at 64 pixels, from photographs to the decision: experiments/comparison/whole.sh SHARED WORK OUT
#
# SHARED holds london/, portraits/ and ratings/lago2022/; WORK gets data and run folders, OUT the tables (results/64-long). Needs the extras
# `dev` and `identity` (the match score is dlib's, which was in no training). The same command again continues. By environment: SEEDS,
# MODELS (every seed) and ONCE (the first seed alone), IMAGES, WARM_START, BATCH, SNAPSHOTS, N (edits of each data set), N_CURVES. Two
# shells with SEEDS=0 and SEEDS="1 2" share the work once the data are made; run it once more with all seeds for the decision.
set -euo pipefail
shared=$1 work=$2 out=$3 here=$(dirname "$0")
read -ra seeds <<< "${SEEDS:-0 1 2}"
read -ra models <<< "${MODELS:-legan legan-noqual stargan stargan-qual}"
read -ra once <<< "${ONCE-stargan-official starganv2}"
images=${IMAGES:-96000} warm_start=${WARM_START:-48000} batch=${BATCH:-32} snapshots=${SNAPSHOTS:-6} n=${N:-200} n_curves=${N_CURVES:-60}
sets=(turned reexpressed portraits-relit)
small=("${sets[@]/%/-64}")

"$here/../default-editor/data.sh" "$shared" "$work/data" reexpressed portraits-relit
legan render --identities 70 --seed 0 --view turned --out "$work/data/turned"
for set in "${sets[@]}"; do
  [ -e "$work/data/$set-64/manifest.parquet" ] || python "$here/shrink.py" "$work/data/$set" "$work/data/$set-64" --size 64
done
judge=$work/judge-64/quality.safetensors
[ -e "$judge" ] || python "$here/../quality/judge.py" --source "$shared/ratings/lago2022" --out "$work/judge-64" --size 64

reports=()
for seed in "${seeds[@]}"; do
  names=("${models[@]}")
  [ "$seed" != "${seeds[0]}" ] || names+=("${once[@]}")
  python "$here/train.py" "${small[@]/#/--data=$work/data/}" --runs "$work/runs/cmp-$seed" --seed "$seed" --images "$images" \
    --warm-start "$warm_start" --snapshots "$snapshots" --size 64 --threads 1 "${names[@]/#/--only=}" \
    "data.batch_size=$batch" 'data.weights=[0.4,0.3,0.3]' loop.log_every=50
  python "$here/report.py" --runs "$work/runs/cmp-$seed" --data "$work/data/turned-64:val" --data "$work/data/reexpressed-64:val" \
    --quality "$judge" --identity dlib --n "$n" --n-curves "$n_curves" "${names[@]/#/--only=}" --out "$out/seed-$seed"
  reports+=("--report=$out/seed-$seed")
done
python "$here/decide.py" "${reports[@]}" --out "$out"
