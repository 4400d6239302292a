#!/usr/bin/env bash
# Fetches NVRTC and cuBLAS from PyPI into the folder where ndcuda looks for them. No toolkit, no root, nothing else is touched.
# Usage: scripts/get-cuda-libs.sh [12|13] [nvrtc|cublas ...]   (default: the driver's major, both libraries)
set -euo pipefail

major="${1:-}"
case "$major" in
  12 | 13) shift ;;
  *)
    major="$(nvidia-smi 2>/dev/null | sed -n 's/.*CUDA Version: \([0-9]*\)\..*/\1/p' | head -n 1 || true)"
    if [ -z "$major" ]; then
      echo "nvidia-smi tells no CUDA version: say 12 or 13 (drivers before 580 take 12)" >&2
      exit 1
    fi
    [ "$major" -gt 13 ] && major=13
    ;;
esac
[ "$#" -eq 0 ] && set -- nvrtc cublas

folder="${XDG_DATA_HOME:-$HOME/.local/share}/ndcuda/lib"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"

for library in "$@"; do
  case "$library" in
    nvrtc) package=nvidia-cuda-nvrtc ;;
    cublas) package=nvidia-cublas ;;
    *)
      echo "unknown library $library: nvrtc or cublas" >&2
      exit 1
      ;;
  esac
  # The packages of CUDA 12 have it in their name, those of 13 in their version.
  if [ "$major" = 12 ]; then
    wanted="$package-cu12>=12,<13"
  else
    wanted="$package>=13,<14"
  fi
  echo "fetching $wanted"
  "$work/venv/bin/pip" download --quiet --no-deps --only-binary=:all: --dest "$work/wheels" "$wanted"
done

mkdir -p "$folder"
for wheel in "$work"/wheels/*.whl; do
  python3 -m zipfile -e "$wheel" "$work/unpacked"
done
# The variants named .alt are for other uses.
find "$work/unpacked/nvidia" -name 'lib*.so*' ! -name '*.alt.*' -exec cp -f {} "$folder/" \;
echo "in $folder:"
ls "$folder"
