/* Per-(sample, unit) statistics of one activation tensor, each activation read once.
 *
 * x[s, u, p] at x + s*ss + u*su + p*sp (in elements), out[stat, s, u] at out + stat*o_stat + s*o_row + u,
 * statistics in the order active, sum, sum of squares, minimum, maximum.
 *
 * Sums run in float32 lanes over at most CHUNK positions, then in float64. Tasks and lanes depend on
 * shape and strides alone, never on the number of threads: the same bits in every run.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>

#define LANES 16    /* positions side by side, where positions are contiguous; FOLD knows it */
#define UNITS 256   /* units side by side, where units are contiguous */
#define CHUNK 4096  /* positions summed in float32 */
#define SMALL 32768 /* activations below which threads cost more than they save */

static inline float from_f32(const void *x, int64_t i) { return ((const float *)x)[i]; }

static inline float from_bf16(const void *x, int64_t i) {
  uint32_t bits = (uint32_t)((const uint16_t *)x)[i] << 16;
  float value;
  memcpy(&value, &bits, 4);
  return value;
}

/* |a| with the mask 0x7fffffff, a itself with 0xffffffff: one body for both rules. */
static inline float masked(float a, uint32_t mask) {
  uint32_t bits;
  memcpy(&bits, &a, 4);
  bits &= mask;
  memcpy(&a, &bits, 4);
  return a;
}

/* One step of W neighbours: counts are exact in float32, for CHUNK < 2^24. */
#define STEP(W, LOAD)                                                \
  for (int i = 0; i < (W); i++) {                                    \
    float a = LOAD;                                                  \
    float size = masked(a, mask);                                    \
    active[i] += size > threshold ? 1.0f : 0.0f;                     \
    sum[i] += a;                                                     \
    square[i] += a * a;                                              \
    low[i] = a < low[i] ? a : low[i];                                \
    high[i] = a > high[i] ? a : high[i];                             \
  }

#define CLEAR(W)                                                     \
  for (int i = 0; i < (W); i++) {                                    \
    active[i] = sum[i] = square[i] = 0.0f;                           \
    low[i] = INFINITY;                                               \
    high[i] = -INFINITY;                                             \
  }

/* The upper W of 2 W lanes join the lower ones. */
#define FOLD(W)                                                      \
  for (int i = 0; i < (W); i++) {                                    \
    active[i] += active[i + (W)];                                    \
    sum[i] += sum[i + (W)];                                          \
    square[i] += square[i + (W)];                                    \
    low[i] = low[i + (W)] < low[i] ? low[i + (W)] : low[i];          \
    high[i] = high[i + (W)] > high[i] ? high[i + (W)] : high[i];     \
  }

/* Comparisons pass a NaN over; its square tells. */
static inline void write_out(double *out, int64_t o_stat, const double *stat) {
  int nan = isnan(stat[2]);
  out[0] = stat[0];
  out[o_stat] = stat[1];
  out[2 * o_stat] = stat[2];
  out[3 * o_stat] = nan ? NAN : stat[3];
  out[4 * o_stat] = nan ? NAN : stat[4];
}

#define DEFINE(NAME, FROM)                                                                     \
  static void NAME##_row(const void *x, int64_t at, int64_t P, float threshold,                \
                         uint32_t mask, double *out, int64_t o_stat) {                         \
    double total[5] = {0, 0, 0, INFINITY, -INFINITY};                                          \
    for (int64_t start = 0; start < P; start += CHUNK) {                                       \
      float active[LANES], sum[LANES], square[LANES], low[LANES], high[LANES];                 \
      CLEAR(LANES)                                                                             \
      int64_t end = P - start < CHUNK ? P : start + CHUNK, p = start;                          \
      for (; p + LANES <= end; p += LANES) STEP(LANES, FROM(x, at + p + i))                    \
      int rest = (int)(end - p);                                                               \
      STEP(rest, FROM(x, at + p + i))                                                          \
      FOLD(8) FOLD(4) FOLD(2) FOLD(1)                                                          \
      total[0] += active[0];                                                                   \
      total[1] += sum[0];                                                                      \
      total[2] += square[0];                                                                   \
      total[3] = low[0] < total[3] ? low[0] : total[3];                                        \
      total[4] = high[0] > total[4] ? high[0] : total[4];                                      \
    }                                                                                          \
    write_out(out, o_stat, total);                                                             \
  }                                                                                            \
                                                                                               \
  static void NAME##_units(const void *x, int64_t at, int W, int64_t P, int64_t sp,            \
                           float threshold, uint32_t mask, double *out, int64_t o_stat) {      \
    double total[5][UNITS];                                                                    \
    for (int i = 0; i < W; i++) {                                                              \
      total[0][i] = total[1][i] = total[2][i] = 0;                                             \
      total[3][i] = INFINITY;                                                                  \
      total[4][i] = -INFINITY;                                                                 \
    }                                                                                          \
    for (int64_t start = 0; start < P; start += CHUNK) {                                       \
      float active[UNITS], sum[UNITS], square[UNITS], low[UNITS], high[UNITS];                 \
      CLEAR(W)                                                                                 \
      int64_t end = P - start < CHUNK ? P : start + CHUNK;                                     \
      for (int64_t p = start; p < end; p++) STEP(W, FROM(x, at + p * sp + i))                  \
      for (int i = 0; i < W; i++) {                                                            \
        total[0][i] += active[i];                                                              \
        total[1][i] += sum[i];                                                                 \
        total[2][i] += square[i];                                                              \
        total[3][i] = low[i] < total[3][i] ? low[i] : total[3][i];                             \
        total[4][i] = high[i] > total[4][i] ? high[i] : total[4][i];                           \
      }                                                                                        \
    }                                                                                          \
    for (int i = 0; i < W; i++) {                                                              \
      double stat[5] = {total[0][i], total[1][i], total[2][i], total[3][i], total[4][i]};      \
      write_out(out + i, o_stat, stat);                                                        \
    }                                                                                          \
  }                                                                                            \
                                                                                               \
  int NAME(const void *x, int64_t S, int64_t U, int64_t P, int64_t ss, int64_t su, int64_t sp, \
           float threshold, uint32_t mask, double *out, int64_t o_stat, int64_t o_row,         \
           int threads) {                                                                      \
    if (su == 1 && (sp != 1 || P == 1)) {                                                      \
      int64_t blocks = (U + UNITS - 1) / UNITS;                                                \
      _Pragma("omp parallel for num_threads(threads) if (S * U * P > SMALL) schedule(static)") \
      for (int64_t task = 0; task < S * blocks; task++) {                                      \
        int64_t s = task / blocks, u = task % blocks * UNITS;                                  \
        int W = (int)(U - u < UNITS ? U - u : UNITS);                                          \
        NAME##_units(x, s * ss + u, W, P, sp, threshold, mask, out + s * o_row + u, o_stat);   \
      }                                                                                        \
      return 0;                                                                                \
    }                                                                                          \
    if (sp != 1 && P != 1) return 1;                                                           \
    _Pragma("omp parallel for num_threads(threads) if (S * U * P > SMALL) schedule(static)")   \
    for (int64_t task = 0; task < S * U; task++) {                                             \
      int64_t s = task / U, u = task % U;                                                      \
      NAME##_row(x, s * ss + u * su, P, threshold, mask, out + s * o_row + u, o_stat);         \
    }                                                                                          \
    return 0;                                                                                  \
  }

DEFINE(float32, from_f32)
DEFINE(bfloat16, from_bf16)
