// The interpreter for maps of f32 and the 16-bit floats.
#define ND_NAME nd_interp_f32_map
#define ND_BOUNDS 256, 4
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
#include "interp_main.cuh"
