// Pairwise kernels of f64, and products of matrices.
#define ND_NAME nd_pairwise_f64
#define ND_T f64
#define ND_REG u64
#define ND_E 2
#define ND_SLOTS 32
#define ND_WIDE 1
#define ND_OPS_BOOL
#define ND_OPS_F64
#define ND_CASTS_BOOL
#define ND_CASTS_F32
#define ND_CASTS_F64
#include "prelude.cuh"
#include "reduce.cuh"
#include "interp.cuh"
#include "pairwise.cuh"
