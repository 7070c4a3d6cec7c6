#!/usr/bin/env bash
# All data of the default editor, or the sets that are named: experiments/default-editor/data.sh SHARED DATA [SET ...]
#
# SHARED holds london/ and portraits/, DATA is made. Needs the extra `render`. Every line continues what it began. On two cores with
# other work beside it, three lines at a time, it took 90 minutes in all (seed 0; a person of the rendered sets 10 s of a core, a
# relit photo 1.6 s; the last two sets stopped at 134 and 54 people, a re-expressed one 12 s).
set -euo pipefail
shared=$1 data=$2 here=$(dirname "$0")
wanted=" ${*:3} "
london=(--licence CC-BY-4.0 --source "Face Research Lab London Set")
portraits=(--licence "public domain" --source "Official portraits of public officials, US Government works")

make() {  # SET COMMAND...: one set, where it is wanted
  if [[ $wanted == "  " || $wanted == *" $1 "* ]]; then "${@:2}" --out "$data/$1"; fi
}

for set in $wanted; do
  grep -q "^make $set " "$0" || { echo "error: there is no set $set: see the lines of $0 that begin with make" >&2; exit 2; }
done
python "$here/labels.py" "$shared" --out "$data"
make relit legan relight "$shared/london" --manifest "$data/london.csv" "${london[@]}"
make reexpressed legan reexpress "$shared/london" --manifest "$data/london.csv" "${london[@]}"
make portraits-reexpressed legan reexpress "$shared/portraits" --manifest "$data/rest.csv" "${portraits[@]}"
make portraits-relit legan relight "$shared/portraits" --manifest "$data/portraits.csv" "${portraits[@]}"
make turned legan render --identities 120 --seed 0 --view turned
make rendered legan render --identities 250 --seed 0
make rendered-1 legan render --identities 250 --seed 1
# A face has one smile that an editor learns to make, a modest one; broad smiles are sources alone.
make broad legan reexpress "$shared/london" --broad-smiles --manifest "$data/london.csv" "${london[@]}"
make portraits-broad legan reexpress "$shared/portraits" --broad-smiles --manifest "$data/rest.csv" "${portraits[@]}"
make broad-london python "$here/sources.py" "$data/broad" "$data/relit" --source "London, broad smiles"
make broad-portraits python "$here/sources.py" "$data/portraits-broad" "$data/portraits-relit" --source "Official portraits, broad smiles"
