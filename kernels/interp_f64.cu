// The interpreter for f64.
#define ND_NAME nd_interp_f64
#define ND_BOUNDS 256, 1
#define ND_REG u64
#define ND_E 4
#define ND_SLOTS 32
#define ND_WIDE 1
#define ND_FOLDS
#define ND_OPS_BOOL
#define ND_OPS_F64
#define ND_CASTS_BOOL
#define ND_CASTS_I64
#define ND_CASTS_U64
#define ND_CASTS_F32
#define ND_CASTS_F64
#include "prelude.cuh"
#include "reduce.cuh"
#include "interp_main.cuh"
