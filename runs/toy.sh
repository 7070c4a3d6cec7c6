#!/usr/bin/env bash
# The whole pipeline, small: people are rendered, LEGAN learns from them, the editor edits a photo and is measured.
#
#     bash runs/toy.sh [FOLDER]                       # runs/toy by default; run again to continue
#     PEOPLE=3 STEPS=20 N=16 bash runs/toy.sh         # to see that it works
#
# The times are processor time of one core of an AMD EPYC beside other work: of people as in experiments/first-weights, of all else measured
# with PEOPLE=3 STEPS=20 N=16 (36, 7, 4 and 14 s, a few of each to load the code) and carried on from there: about 10 minutes in all.
# The edits are poor: the packaged editor took 11,035 steps of 16 images.
set -euo pipefail
PEOPLE=${PEOPLE:-6} STEPS=${STEPS:-300} N=${N:-60} WORKERS=${WORKERS:-2}
OUT=${1:-runs/toy}
LEGAN=${LEGAN:-.venv/bin/legan}
PHOTO=${PHOTO:-src/legan/assets/faces/london-006.jpg}

# 1. Data: each person under 6 expressions and 20 lightings, 128 x 128 pixels; the last person is the split `val`.
# 1 minute (10 s a person); half with two workers.
"$LEGAN" render --identities "$PEOPLE" --workers "$WORKERS" --seed 0 --out "$OUT/rendered"

# 2. Training: pairs of one person under two conditions; logs, sample grids and checkpoints go to the run folder.
# 7 minutes (1.4 s a step).
"$LEGAN" train legan --preset lite --data "$OUT/rendered" --run "$OUT/run" \
  --set loop.n_steps="$STEPS" --set data.batch_size=8 --set loop.sample_every=100

# 3. Weights: one file of tensors and metadata, which `--editor` takes everywhere. 7 s.
"$LEGAN" export "$OUT/run" -o "$OUT/editor.safetensors"

# 4. Editing: the face is detected, aligned, translated, and the change is applied to the photo's own pixels. 4 s.
"$LEGAN" edit "$PHOTO" --editor "$OUT/editor.safetensors" --expression smile --lighting -45 -o "$OUT/edited.png"

# 5. Evaluation: beside the packaged editor, on the person that the training left out. 1 minute.
"$LEGAN" evaluate --editor toy="$OUT/editor.safetensors" --editor packaged --data "$OUT/rendered:val" --n "$N" -o "$OUT/report"

echo "look at $OUT/edited.png, $OUT/run/samples and $OUT/report/report.html"
