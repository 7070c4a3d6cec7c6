#!/usr/bin/env bash
# All data of the default editor: experiments/default-editor/data.sh SHARED DATA
#
# SHARED holds london/ and portraits/, DATA is made. Needs the extra `render`. Every line continues what it began. On two cores with
# other work beside it, three lines at a time, it took 90 minutes in all (seed 0; a person of the rendered sets 10 s of a core, a
# relit photo 1.6 s; the last two sets stopped at 134 and 54 people, a re-expressed one 12 s).
set -euo pipefail
shared=$1 data=$2 here=$(dirname "$0")
london=(--licence CC-BY-4.0 --source "Face Research Lab London Set")
portraits=(--licence "public domain" --source "Official portraits of public officials, US Government works")

python "$here/labels.py" "$shared" --out "$data"
legan relight "$shared/london" --manifest "$data/london.csv" "${london[@]}" --out "$data/relit"
legan reexpress "$shared/london" --manifest "$data/london.csv" "${london[@]}" --out "$data/reexpressed"
legan reexpress "$shared/portraits" --manifest "$data/rest.csv" "${portraits[@]}" --out "$data/portraits-reexpressed"
legan relight "$shared/portraits" --manifest "$data/portraits.csv" "${portraits[@]}" --out "$data/portraits-relit"
legan render --identities 120 --seed 0 --view turned --out "$data/turned"
legan render --identities 250 --seed 0 --out "$data/rendered"
legan render --identities 250 --seed 1 --out "$data/rendered-1"
# A face has one smile that an editor learns to make, a modest one; broad smiles are sources alone.
legan reexpress "$shared/london" --broad-smiles --manifest "$data/london.csv" "${london[@]}" --out "$data/broad"
legan reexpress "$shared/portraits" --broad-smiles --manifest "$data/rest.csv" "${portraits[@]}" --out "$data/portraits-broad"
python "$here/sources.py" "$data/broad" "$data/relit" --source "London, broad smiles" --out "$data/broad-london"
python "$here/sources.py" "$data/portraits-broad" "$data/portraits-relit" --source "Official portraits, broad smiles" --out "$data/broad-portraits"
