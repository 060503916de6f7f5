/* A step of the policy of $sha256 in C, made by EdgeDQN for Python:

     cc -O3 -march=native -shared -fPIC -o policy.so policy_native.c

     policy = EdgePolicy.load(folder, library="policy.so")

   Rows are those that XNNPACK computes: sums in int32, each scaled in float32 and rounded once, halves to even. What policy.c
   gives in microcontroller/, two roundings, is TensorFlow Lite Micro's. C99 of GCC or Clang; not for -ffast-math. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))
#define FEATURES $inputs
#define ACTIONS $outputs

const char edgedqn_sha256[] = "$sha256";

typedef struct {
  int32_t saturated; /* features that were clamped */
  int8_t row[ACTIONS];
} result;

static const float scale[FEATURES] = {
$scale
};
static const float offset[FEATURES] = {
$offset
};
$constants

INLINE int32_t bits_of(float x) {
  int32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

/* Half to even, for |x| < 2^22: the last bit of the sum is worth 1. Integers are clamped afterwards, because comparing floats is
   what no compiler does without branches unless it is told to. */
INLINE int32_t rounded(float x) { return bits_of(x + 12582912.0f) - 0x4b400000; }

INLINE int32_t clamped(int32_t x, int32_t least, int32_t most) { return x < least ? least : x > most ? most : x; }

/* The bits of a float of up to 1,024 in its place: those of positive floats are in their order, those of negative ones, too, behind
   the sign. */
INLINE float within_1024(float x) {
  int32_t bits = bits_of(x);
  const int32_t size = bits & 0x7fffffff;
  bits = (bits & ~0x7fffffff) | (size < 0x44800000 ? size : 0x44800000);
  memcpy(&x, &bits, sizeof x);
  return x;
}

/* Every sum times its factor is within 2^22: EdgeDQN has looked. */
static __attribute__((noinline)) void finish(const int32_t *sums, const float *factors, ptrdiff_t count, int32_t least, int32_t zero,
                                             int16_t *restrict out) {
  for (ptrdiff_t o = 0; o < count; ++o) out[o] = (int16_t)clamped(rounded((float)sums[o] * factors[o]) + zero, least, 127);
}

/* weights [outputs][padded]; in[padded], of which what lies behind the inputs meets weights of 0 */
INLINE void dense(const int16_t *in, const int16_t *weights, const int32_t *bias, const float *factors, ptrdiff_t padded,
                  ptrdiff_t outputs, int32_t least, int32_t zero, int16_t *out) {
  int32_t sums[outputs];
  for (ptrdiff_t o = 0; o < outputs; ++o) {
    int32_t sum = 0;
    for (ptrdiff_t i = 0; i < padded; ++i) sum += (int32_t)weights[o * padded + i] * (int32_t)in[i];
    sums[o] = sum + bias[o];
  }
  finish(sums, factors, outputs, least, zero, out);
}

/* 1; or 0 where x holds a NaN or an infinity, with nothing changed */
static int quantize(const float *x, int16_t *input, int32_t *saturated) {
  int32_t largest = 0, count = 0;
  for (ptrdiff_t i = 0; i < FEATURES; ++i) {
    const int32_t size = bits_of(x[i]) & 0x7fffffff;
    largest = size > largest ? size : largest;
  }
  if (largest >= 0x7f800000) return 0;
  float product[FEATURES];
  for (ptrdiff_t i = 0; i < FEATURES; ++i) product[i] = x[i] * scale[i];
  /* Multiplied, rounded, then added and rounded: never in one operation, whatever the compiler was told. */
  __asm__ volatile("" : : "r"(product) : "memory");
  for (ptrdiff_t i = 0; i < FEATURES; ++i) {
    const int32_t whole = rounded(within_1024(product[i] + offset[i]));
    input[i] = (int16_t)clamped(whole, -128, 127);
    count += input[i] != whole;
  }
  *saturated = count;
  return 1;
}

/* The index of the largest of the row, the lowest among equals; -1 where x holds a NaN or an infinity, with nothing changed. */
int edgedqn_step(const float *x, result *found) {
  int16_t $buffers;
  if (!quantize(x, input, &found->saturated)) return -1;
$calls
  int best = 0;
  for (int action = 0; action < ACTIONS; ++action) {
    found->row[action] = (int8_t)output[action];
    if (output[action] > output[best]) best = action;
  }
  return best;
}
