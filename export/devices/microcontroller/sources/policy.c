/* Made by EdgeDQN from $sha256; see policy.h. C99, no library, no heap; int may have 16 bits. */
#include "policy.h"

#include <stddef.h>

#include "policy_flash.h"

#if defined(__AVR__) && POLICY_CONSTANT_BYTES > 60000
#error "These constants do not fit: an AVR reads them from the first 64 KB of its flash."
#endif
#if defined(__AVR__) && !defined(__clang__)
#pragma GCC optimize("O2") /* Arduino builds with -Os, which takes half as many cycles more for as many bytes */
#endif

/* bias: the input's zero point is folded in. multiplier and shift: TFLite Micro's, one per output or one for all. Of a
   convolution, inputs are those of one window, and outputs its channels. */
typedef struct {
  const int8_t *weights; /* [outputs][inputs] */
  const int32_t *bias;
  const int32_t *multiplier;
  const int8_t *shift;
  ptrdiff_t inputs, outputs;
  uint8_t per_output;
  int8_t zero_point, lowest;
} layer;

/* Two roundings, as gemmlowp has them: halves up at 2^-31, then halves away from zero. >> of what is negative is arithmetic in
   every compiler for these devices, and TFLite Micro relies on it, too. */
static int32_t scaled(int32_t sum, int32_t multiplier, int shift) {
  const int32_t wide = shift > 0 ? sum * (int32_t)((uint32_t)1 << shift) : sum;
  /* Twice the product: where a 64-bit number is made of small ones, >> 32 is free, and >> 31 is not. */
  const int32_t high = (int32_t)(((int64_t)wide * multiplier * 2 + ((int64_t)1 << 31)) >> 32);
  const int right = shift > 0 ? 0 : -shift;
  const int32_t mask = (int32_t)(((uint32_t)1 << right) - 1u);
  return (high >> right) + ((high & mask) > (mask >> 1) + (high < 0));
}

static int8_t finished(const layer *l, ptrdiff_t o, int32_t sum) {
  const ptrdiff_t at = l->per_output ? o : 0;
  sum = scaled(sum, POLICY_READ_INT32(l->multiplier + at), POLICY_READ_INT8(l->shift + at)) + l->zero_point;
  return (int8_t)(sum < l->lowest ? l->lowest : sum > 127 ? 127 : sum);
}

static int32_t dot(int32_t sum, const int8_t *weight, const int8_t *x, ptrdiff_t count) {
  const int8_t *const end = x + count;
  /* Four at a time: a third of the instructions would otherwise count and compare. Each product is added on its own, because
     the sum of four does not fit into an int of 16 bits. */
  for (; end - x >= 4; x += 4, weight += 4) {
    sum += POLICY_READ_INT8(weight) * x[0];
    sum += POLICY_READ_INT8(weight + 1) * x[1];
    sum += POLICY_READ_INT8(weight + 2) * x[2];
    sum += POLICY_READ_INT8(weight + 3) * x[3];
  }
  for (; x != end; ++x, ++weight) sum += POLICY_READ_INT8(weight) * *x;
  return sum;
}
$functions
$constants

void policy_infer_in(const int8_t input[POLICY_INPUTS], int8_t output[POLICY_OUTPUTS], int8_t scratch[POLICY_SCRATCH_BYTES]) {
$calls
}

void policy_infer(const int8_t input[POLICY_INPUTS], int8_t output[POLICY_OUTPUTS]) {
  ${storage}int8_t scratch[POLICY_SCRATCH_BYTES];
  policy_infer_in(input, output, scratch);
}
