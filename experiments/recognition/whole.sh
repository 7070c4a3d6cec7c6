#!/usr/bin/env bash
# Both recognition experiments, from photographs to the tables: experiments/recognition/whole.sh SHARED WORK OUT
#
# SHARED holds london/ and portraits/; WORK gets data, sets and run folders, OUT the tables (results). Needs the extras `dev` and
# `identity` (dlib's network stands beside the trained ones). The same command again continues. By environment: SEEDS, TRAININGS, STEPS,
# RENDERED and PEOPLE (rendered people to test on and to learn from), WORKERS.
set -euo pipefail
shared=$1 work=$2 out=$3 here=$(dirname "$0")
read -ra seeds <<< "${SEEDS:-0 1 2}"
read -ra trainings <<< "${TRAININGS:-repeated augmented classical together}"
steps=${STEPS:-150} rendered=${RENDERED:-80} people=${PEOPLE:-120} workers=${WORKERS:-1} data=$work/data

"$here/../default-editor/data.sh" "$shared" "$data" relit reexpressed portraits-relit
legan render --identities "$rendered" --seed 0 --out "$data/rendered-$rendered"
legan render --identities "$people" --seed 7 --out "$data/people"  # whom the editor has not seen
python "$here/sets.py" --people "$data/people" --photos "$data/portraits-relit" --photos "$data/relit" --out "$work/sets" --workers "$workers"
python "$here/run.py" --sets "$work/sets" --renders "$data/rendered-$rendered" --london "$data/relit" --portraits "$data/portraits-relit" \
  --reexpressed "$data/reexpressed" --out "$work/runs/recognition" --trainings "${trainings[@]}" --seeds "${seeds[@]}" --steps "$steps"
python "$here/report.py" --runs "$work/runs/recognition" --out "$out"
