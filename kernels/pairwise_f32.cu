// Pairwise kernels of f32, and products of matrices.
#define ND_NAME nd_pairwise_f32
#define ND_T f32
#define ND_REG u32
#define ND_E 4
#define ND_SLOTS 32
#define ND_WIDE 0
#define ND_OPS_BOOL
#define ND_OPS_F32
#define ND_CASTS_BOOL
#define ND_CASTS_F32
#include "prelude.cuh"
#include "reduce.cuh"
#include "interp.cuh"
#include "pairwise.cuh"
