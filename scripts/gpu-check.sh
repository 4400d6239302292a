#!/usr/bin/env bash
# On a machine with an NVIDIA GPU: runs the suite, the main job and the benches on it, beside CuPy where that is installed, and
# writes a record to send back. Usage: scripts/gpu-check.sh [FOLDER [STEP ...]]   (default target/gpu-check, all steps)
# STEP is how a step's name begins: `gpu-check.sh out suite pairwise-cityblock` runs those alone. Without NVRTC all kernels would be those that ship, which
# are interpreted: it stops there, and GPU_CHECK_WITHOUT_NVRTC=1 makes it go on and say so in the record.
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# From where it was called, and without a slash at its end.
out=$(realpath -m "${1:-$root/target/gpu-check}")
shift $(($# > 0))
steps=("$@")
cd "$root" || exit 1
if ! command -v nvidia-smi >/dev/null || ! nvidia-smi >/dev/null 2>&1; then
  echo "gpu-check: nvidia-smi finds no GPU here; what can be shown without one, .ci/run shows" >&2
  exit 1
fi
mkdir -p "$out" || exit 1
export NDCUDA_DEVICE=cuda
failed=0

say() {
  echo "$*" | tee -a "$out/summary.txt"
}

# Whether a step is asked for.
wanted() {
  [ "${#steps[@]}" = 0 ] && return 0
  local prefix
  for prefix in "${steps[@]}"; do
    case $1 in "$prefix"*) return 0 ;; esac
  done
  return 1
}

# Runs a step if it is asked for, keeps its output, and says how it went.
step() {
  local name=$1
  shift
  wanted "$name" || return 0
  echo "== $name: $*"
  local start=$SECONDS
  "$@" >"$out/$name.txt" 2>&1
  local rc=$?
  say "$name: exit $rc after $((SECONDS - start)) s"
  [ "$rc" = 0 ] || { failed=1; tail -n 20 "$out/$name.txt"; }
}

# The path of a bench's program.
bench() {
  cargo bench --quiet --no-run --bench "$1" --message-format=json |
    "$python" -c 'import json, sys; print(*[m["executable"] for m in map(json.loads, sys.stdin) if m.get("executable")])'
}

: >"$out/summary.txt"
step machine nvidia-smi --query-gpu=name,driver_version,compute_cap,memory.total,clocks.max.sm,clocks.max.memory --format=csv

# What the figures will be of stands in the record, whatever steps are asked for.
cargo run --release --quiet --example doctor >"$out/doctor.txt" 2>&1 || { say "doctor: fails"; tail -n 20 "$out/doctor.txt"; exit 1; }
grep -E '^  (default|driver|NVRTC|cuBLAS|kernel module|kernel cache): ' "$out/doctor.txt" | tee -a "$out/summary.txt"
if ! grep -q '^  NVRTC: [0-9]' "$out/doctor.txt"; then
  if [ "${GPU_CHECK_WITHOUT_NVRTC:-}" != 1 ]; then
    echo "gpu-check: no NVRTC, so no kernel would be compiled and the figures would be the interpreter's: run scripts/get-cuda-libs.sh" >&2
    echo "(nvrtc alone is 60 to 90 MB), or set GPU_CHECK_WITHOUT_NVRTC=1 to measure that" >&2
    exit 1
  fi
  say "*** WITHOUT NVRTC: all that follows is of the kernels that ship, which are INTERPRETED; no compiled kernel was measured ***"
fi
grep '^  cuBLAS: [0-9]' "$out/doctor.txt" | grep -qv 'own kernels' || say "*** WITHOUT cuBLAS: products of matrices are ndcuda's own kernels ***"

step main-job cargo run --release -p distances
# `NDCUDA_SUITE=gpu`: no software device stands in, and a GPU that cannot be used fails instead of being ignored. The op table runs there, too.
export NDCUDA_SUITE=gpu
step suite cargo test --release --workspace
NDCUDA_JIT=off step suite-of-what-ships cargo test --release --test suite
NDCUDA_CODE=ptx step suite-of-ptx cargo test --release --test suite
NDCUDA_CUBLAS=/nowhere step suite-without-cublas cargo test --release --test suite
unset NDCUDA_SUITE
for form in sqeuclidean cityblock expanded chebyshev; do
  for d in 3 16 128 1024; do
    step "pairwise-$form-$d" cargo run --release -q -p distances --bin pairwise_bench -- --n 10000 --m 10000 --d "$d" --form "$form" --reps 9
  done
done
for name in elementwise reduce matmul small distances; do
  step "bench-$name" cargo bench --bench "$name"
done
python=${PYTHON:-python3}
if ! wanted cupy; then
  :
elif "$python" -c "import cupy" 2>/dev/null; then
  PEERS=cupy step cupy "$python" benches/peers/run.py "$(bench ndcuda_peers)" "$(bench limit)" target/peers-data "$out"
  say "cupy: a '-' in its column is what CuPy has no operation for (selections of the k least, Canberra, Jensen-Shannon)"
else
  say "cupy: not installed for $python: not compared"
fi
cat "$out"/pairwise-*.txt 2>/dev/null | grep '^{' >"$out/pairwise.jsonl"
archive="$out.tar.gz"
tar czf "$archive" -C "$(dirname "$out")" "$(basename "$out")"
echo
cat "$out/summary.txt"
echo "record: $archive"
exit "$failed"
