// The interpreter's instructions for folds: a part of its switch.
// `flags` holds whether each element has a state of its own and a state's words; `data` is the fold's: its code, its number, its loop's indices.

        case ND_INIT: {
            const Words none = nd_empty((u32)data[0]);
            for (u32 e = 0; e < (flags >> 8 ? ND_E : 1); ++e) nd_write_state(d, flags & 0xff, e, none);
            break;
        }
        case ND_STEP: {
            const Walk& k = walks[depth - 1];
            const u32 words = flags & 0xff, apart = flags >> 8;
            const u32 n = apart ? ND_E : within;
            switch ((u32)data[0]) {
#define ND_FOLD(CODE, R)                                                                                     \
    case CODE: {                                                                                             \
        R::State s;                                                                                          \
        if (!apart) s = nd_state_of<R>(nd_read_state(d, words, 0));                                          \
        _Pragma("unroll 1") for (u32 e = 0; e < n; ++e) {                                                    \
            if (apart) s = nd_state_of<R>(nd_read_state(d, words, e));                                       \
            R::step(s, nd_get<R::T>(ra[e]), (i64)(k.t + k.off + e * k.apart));                               \
            if (apart) nd_write_state(d, words, e, nd_words_of<R>(s));                                       \
        }                                                                                                    \
        if (!apart) nd_write_state(d, words, 0, nd_words_of<R>(s));                                          \
        break;                                                                                               \
    }
#include "generated/interp_ops.cuh"
#undef ND_FOLD
            }
            break;
        }
        case ND_JOIN: {
            const u32 words = flags & 0xff;
            nd_write_state(d, words, 0, nd_join((u32)data[0], nd_read_state(d, words, 0), along_y));
            break;
        }
        // The blocks that share a row leave their states; the last one folds them all.
        case ND_PUBLISH: {
            const Walk& k = walks[0];
            const u64 row = k.t + k.off;
            Words* const all = (Words*)a.scratch + (k.end * data[1] + row) * gridDim.y;
            if (live && lane == 0) all[blockIdx.y] = nd_read_state(d, flags & 0xff, 0);
            break;
        }
        case ND_LAST:
            // On to the next row but for one block.
            if (!nd_is_last(a.tickets + walks[0].t / groups)) pc = w.w;
            break;
        case ND_COLLECT: {
            const Walk& k = walks[0];
            const u64 row = live ? k.t + k.off : k.end - 1;
            const Words* const all = (const Words*)a.scratch + (k.end * data[1] + row) * gridDim.y;
            Words acc = nd_empty((u32)data[0]);
            for (u32 p = lane; p < gridDim.y; p += lanes) acc = nd_merged((u32)data[0], acc, all[p]);
            nd_write_state(d, flags & 0xff, 0, nd_join((u32)data[0], acc, along_y));
            break;
        }
        case ND_FINISH: {
            const u32 words = flags & 0xff, apart = flags >> 8;
            const i64 seen = (i64)data[2];
            switch ((u32)data[0]) {
#define ND_FOLD(CODE, R)                                                                                     \
    case CODE:                                                                                               \
        _Pragma("unroll 1") for (u32 e = 0; e < ND_E; ++e)                                                   \
            d[e] = nd_put<R::Out>(R::finish(nd_state_of<R>(nd_read_state(ra, words, apart ? e : 0)), seen)); \
        break;
#include "generated/interp_ops.cuh"
#undef ND_FOLD
            }
            break;
        }
