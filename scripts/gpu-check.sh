#!/usr/bin/env bash
# On a machine with an NVIDIA GPU: runs the suite, the main job and the benches on it, beside CuPy where that is installed, and
# writes a record to send back. Usage: scripts/gpu-check.sh [FOLDER]   (default target/gpu-check)
set -uo pipefail
cd "$(dirname "$0")/.."
out=${1:-target/gpu-check}
if ! command -v nvidia-smi >/dev/null || ! nvidia-smi >/dev/null 2>&1; then
  echo "gpu-check: nvidia-smi finds no GPU here; what can be shown without one, .ci/run shows" >&2
  exit 1
fi
mkdir -p "$out"
export NDCUDA_DEVICE=cuda
failed=0

# Runs a step, keeps its output, and says how it went.
step() {
  local name=$1
  shift
  echo "== $name: $*"
  local start=$SECONDS
  "$@" >"$out/$name.txt" 2>&1
  local rc=$?
  echo "$name: exit $rc after $((SECONDS - start)) s" | tee -a "$out/summary.txt"
  [ "$rc" = 0 ] || { failed=1; tail -n 20 "$out/$name.txt"; }
}

: >"$out/summary.txt"
step machine nvidia-smi --query-gpu=name,driver_version,compute_cap,memory.total,clocks.max.sm,clocks.max.memory --format=csv
step doctor cargo run --release --example doctor
step main-job cargo run --release -p distances
# `NDCUDA_SUITE=gpu`: no software device stands in, and a GPU that cannot be used fails instead of being ignored.
NDCUDA_SUITE=gpu step suite cargo test --release --workspace
for form in sqeuclidean cityblock expanded chebyshev; do
  for d in 3 16 128 1024; do
    step "pairwise-$form-$d" cargo run --release -q -p distances --bin pairwise_bench -- --n 10000 --m 10000 --d "$d" --form "$form" --reps 9
  done
done
for bench in elementwise reduce matmul small distances; do
  step "bench-$bench" cargo bench --bench "$bench"
done
python=${PYTHON:-python3}
if "$python" -c "import cupy" 2>/dev/null; then
  exe=$(cargo bench --quiet --no-run --bench ndcuda_peers --message-format=json |
    "$python" -c 'import json, sys; print(*[m["executable"] for m in map(json.loads, sys.stdin) if m.get("executable")])')
  PEERS=cupy step cupy "$python" benches/peers/run.py "$exe" target/peers-data "$out"
else
  echo "cupy: not installed for $python: not compared" | tee -a "$out/summary.txt"
fi
grep -h '^{' "$out"/pairwise-*.txt >"$out/pairwise.jsonl"
archive="$out.tar.gz"
tar czf "$archive" -C "$(dirname "$out")" "$(basename "$out")"
cat "$out/summary.txt"
echo "record: $archive"
exit "$failed"
