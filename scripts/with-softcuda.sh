#!/usr/bin/env bash
# Runs a program on the software CUDA device.
set -euo pipefail

usage() {
    cat <<'TEXT'
Usage: scripts/with-softcuda.sh CMD [ARGS...]

Runs CMD with the software CUDA device in the place of an NVIDIA driver and of cuBLAS: a machine without a GPU runs the CUDA path of
a program, and so does one with a GPU, without using it. Programs see it through LD_LIBRARY_PATH alone; nothing is installed.

It runs PTX, not machine code, and it is slow: it is there to show that kernels are right, not how fast they are. What it finds (out of
bounds, uninitialised reads, races, ...) is printed and fails the program's next CUDA call.

  SOFTCUDA_CC=8.0        compute capability          SOFTCUDA_DEVICES=1     devices
  SOFTCUDA_MEMORY=BYTES  memory of each device       SOFTCUDA_DRIVER=13.5   the CUDA version that the driver knows
  SOFTCUDA_SMS=8         multiprocessors             SOFTCUDA_POOLS=1       0: no memory pools
  SOFTCUDA_SEED=0        order of warps and streams  SOFTCUDA_TRACE=1       print each call that fails
  SOFTCUDA_DETECT=all    none, or some of uninit,race,misaligned
  NDCUDA_SOFT_DEFER=1    work waits until something synchronizes
  CUDA_LAUNCH_BLOCKING=1 a launch returns what its kernel did

NVRTC is not part of it: programs look for it as they do with a real driver.
TEXT
}

case "${1-}" in
    "" | -h | --help)
        usage
        exit $(($# == 0))
        ;;
esac

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=$(realpath -m "${CARGO_TARGET_DIR:-$root/target}")
cargo build --quiet --release --manifest-path "$root/Cargo.toml" -p softcuda-driver -p softcuda-blas

# One name for each under which programs and NVRTC look for the real ones.
folder=$target/softcuda
mkdir -p "$folder"
for name in libcuda.so libcuda.so.1; do
    ln -sfn "$target/release/libsoftcuda_driver.so" "$folder/$name"
done
for name in libcublas.so libcublas.so.13 libcublas.so.12; do
    ln -sfn "$target/release/libsoftcuda_blas.so" "$folder/$name"
done

export LD_LIBRARY_PATH=$folder${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
exec "$@"
