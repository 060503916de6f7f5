/* See policy_io.h. C99; not for -ffast-math, which assumes that every number is finite. */
#include "policy_io.h"

static const float scale[POLICY_INPUT_PAIRS] = POLICY_INPUT_SCALE;
static const float offset[POLICY_INPUT_PAIRS] = POLICY_INPUT_OFFSET;

/* Halves to even, without a library. Clamped first: a cast of what no int holds is undefined. */
static int8_t rounded(float real) {
  if (real >= 127.0f) return 127;
  if (real <= -128.0f) return -128;
  int whole = (int)real; /* towards zero */
  const float rest = real - (float)whole;
  if (rest > 0.5f || (rest == 0.5f && (whole & 1))) ++whole;
  if (rest < -0.5f || (rest == -0.5f && (whole & 1))) --whole;
  return (int8_t)whole;
}

int policy_quantize(const float observation[POLICY_INPUTS], int8_t input[POLICY_INPUTS]) {
  for (int i = 0; i < POLICY_INPUTS; ++i) {
    const float x = observation[i];
    if (x - x != 0.0f) return 0; /* a NaN or an infinity */
    /* volatile: multiplied, rounded, then added, as where the policy was judged; a fused multiply-add rounds once. */
    volatile const float product = x * scale[i % POLICY_INPUT_PAIRS];
    input[i] = rounded(product + offset[i % POLICY_INPUT_PAIRS]);
  }
  return 1;
}

int policy_argmax(const int8_t output[POLICY_ACTIONS]) {
  int best = 0;
  for (int action = 1; action < POLICY_ACTIONS; ++action)
    if (output[action] > output[best]) best = action;
  return best;
}

int policy_argmax_legal(const int8_t output[POLICY_ACTIONS], const float legal[POLICY_ACTIONS]) {
  int best = -1;
  for (int action = 0; action < POLICY_ACTIONS; ++action)
    if (legal[action] != 0.0f && (best < 0 || output[action] > output[best])) best = action;
  return best;
}

uint32_t policy_crc32(const unsigned char *data, size_t size) {
  uint32_t crc = 0xffffffffu;
  for (size_t i = 0; i < size; ++i) {
    crc ^= data[i];
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (0xedb88320u & (0u - (crc & 1u)));
  }
  return ~crc;
}
