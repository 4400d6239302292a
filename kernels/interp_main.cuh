// The interpreter as a kernel, named ND_NAME.
#include "interp.cuh"

extern "C" __global__ void __launch_bounds__(ND_BOUNDS) ND_NAME(const Args a) {
    __shared__ __align__(16) u64 program[ND_WORDS];
    nd_fetch(a, program);
    __align__(16) Reg r[ND_SLOTS * ND_E];
    const Around around = {a.fault, a.scratch, a.tickets, a.how != 0};
    nd_interpret(around, program, 0, r, 0);
}
