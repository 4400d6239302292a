#!/bin/sh
# Compares ndcuda with NumPy, SciPy, scikit-learn, PyTorch, JAX, Numba and FAISS on this machine, in one run; the table
# goes to benches/record/. With workloads named (`run.sh add sum`), only those, and nothing is recorded.
# PEERS="numpy cupy" picks peers by name (cupy needs a GPU and is never installed here). NDCUDA_CPU=avx2 bounds ndcuda's loops; PEERS_VENV is a ready environment to use in place of target/peers-venv.
set -eu
cd "$(dirname "$0")/../.."
target=${CARGO_TARGET_DIR:-target}
venv=${PEERS_VENV:-$target/peers-venv}
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
python=$venv/bin/python
if [ -z "${PEERS:-}" ] && ! "$python" -c "import numpy, scipy, sklearn, jax, numba, faiss" 2>/dev/null; then
    "$python" -m pip install --quiet numpy scipy scikit-learn jax numba faiss-cpu
fi
if [ -z "${PEERS:-}" ] && ! "$python" -c "import torch" 2>/dev/null; then
    # The CPU build where its index can be reached; else PyPI's, which needs its CUDA libraries even to be imported.
    "$python" -m pip install --quiet --retries 0 --index-url https://download.pytorch.org/whl/cpu torch 2>/dev/null ||
        "$python" -m pip install --quiet torch
fi
bench() {
    cargo bench --quiet --no-run --bench "$1" --message-format=json |
        "$python" -c 'import json, sys; print(*[m["executable"] for m in map(json.loads, sys.stdin) if m.get("executable")])'
}
exe=$(bench ndcuda_peers)
limit=$(bench limit)
exec "$python" benches/peers/run.py "$exe" "$limit" "$target/peers-data" benches/record "$@"
