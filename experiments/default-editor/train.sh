#!/usr/bin/env bash
# The training of the default editor, part by part: experiments/default-editor/train.sh PART DATA RUNS [OPTION ...]
#
# PART: first (a quarter of the data, while the rest is made), second (without broad smiles), third (all of the data), fourth (the rate
# falls), full (all five losses). Each starts from the one before, and the same command again continues; Ctrl-C saves. DATA as data.sh makes it:
# when the packaged editor had these parts, broad smiles were truths too (README.md), as data.sh of commit 59a1ad3 makes them.
set -euo pipefail
part=$1 data=$2 runs=$3
shift 3
declare -A before=([second]=first [third]=second [fourth]=third [full]=fourth)
options=(--set loss.bias=2.0 --set optimizer.warmup_steps=100)
case $part in
first) folders=(relit reexpressed portraits-reexpressed turned) weights=[0.2,0.3,0.2,0.3]
    options=(--set optimizer.decay_fraction=0.0) ;;
second) folders=(relit reexpressed portraits-relit portraits-reexpressed turned) weights=[0.15,0.27,0.18,0.12,0.28] ;;
*) folders=(relit reexpressed portraits-relit portraits-reexpressed turned rendered rendered-1
    broad-london/sources broad-london/truths broad-portraits/sources broad-portraits/truths)
    weights=[0.1,0.22,0.14,0.1,0.12,0.05,0.06,0.13,0,0.08,0]
    options+=(--set 'edits.tasks=[0.55,0.25,0.2]') ;;
esac
if [ "$part" = fourth ]; then
    options+=(--set optimizer.decay_fraction=0.9 --set optimizer.ema_decay=0.99 --set optimizer.warmup_steps=50 --set loop.n_steps=2400)
fi
[ "$part" = full ] && preset=fields || preset=fields-paired
if [ -n "${before[$part]:-}" ]; then
    start=$runs/${before[$part]}.safetensors
    [ -e "$start" ] || legan export "$runs/${before[$part]}" -o "$start"
    options+=(--set "init=$start")
fi
OMP_NUM_THREADS=1 exec legan train legan --preset "$preset" "${folders[@]/#/--data=$data/}" --run "$runs/$part" --set "data.weights=$weights" \
    "${options[@]}" "$@"
