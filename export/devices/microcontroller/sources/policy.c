/* Made by EdgeDQN from $sha256; see policy.h. C99, no library, no heap. */
#include "policy.h"

/* bias: the input's zero point is folded in. multiplier and shift: TFLite Micro's, one per output or one for all. */
typedef struct {
  const int8_t *weights; /* [outputs][inputs] */
  const int32_t *bias;
  const int32_t *multiplier;
  const int8_t *shift;
  uint16_t inputs, outputs;
  uint8_t per_output;
  int8_t zero_point, lowest;
} layer;

$constants

static const layer layers[$count] = {
$layers
};

/* Two roundings, as gemmlowp has them: halves up at 2^-31, then halves away from zero. >> of what is negative is arithmetic in
   every compiler for these devices, and TFLite Micro relies on it, too. */
static int32_t scaled(int32_t sum, int32_t multiplier, int shift) {
  const int32_t wide = shift > 0 ? sum * (int32_t)((uint32_t)1 << shift) : sum;
  const int32_t high = (int32_t)(((int64_t)wide * multiplier + ((int64_t)1 << 30)) >> 31);
  const int right = shift > 0 ? 0 : -shift;
  const int32_t mask = (int32_t)(((uint32_t)1 << right) - 1u);
  return (high >> right) + ((high & mask) > (mask >> 1) + (high < 0));
}

static void dense(const layer *l, const int8_t *input, int8_t *output) {
  const int8_t *weight = l->weights;
  for (int o = 0; o < l->outputs; ++o) {
    const int at = l->per_output ? o : 0;
    const int8_t *x = input;
    const int8_t *const end = input + l->inputs;
    int32_t sum = l->bias[o];
    /* Four at a time: a third of the instructions would otherwise count and compare. Each product is added on its own, because
       the sum of four does not fit into an int of 16 bits. */
    for (; end - x >= 4; x += 4, weight += 4) {
      sum += weight[0] * x[0];
      sum += weight[1] * x[1];
      sum += weight[2] * x[2];
      sum += weight[3] * x[3];
    }
    for (; x != end; ++x, ++weight) sum += *weight * *x;
    sum = scaled(sum, l->multiplier[at], l->shift[at]) + l->zero_point;
    output[o] = (int8_t)(sum < l->lowest ? l->lowest : sum > 127 ? 127 : sum);
  }
}

void policy_infer(const int8_t input[POLICY_INPUTS], int8_t output[POLICY_OUTPUTS]) {
$calls
}
