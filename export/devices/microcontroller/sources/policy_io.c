/* See policy_io.h. C99; not for -ffast-math, which assumes that every number is finite. */
#include "policy_io.h"

#include "policy_flash.h"

/* Features of one channel share their numbers. */
#define PAIR(i) (POLICY_INPUT_PAIRS == POLICY_INPUTS ? (i) : (i) % POLICY_INPUT_PAIRS)

static const float scale[POLICY_INPUT_PAIRS] POLICY_FLASH = POLICY_INPUT_SCALE;
static const float offset[POLICY_INPUT_PAIRS] POLICY_FLASH = POLICY_INPUT_OFFSET;
static int saturated;

int8_t policy_feature(size_t i, float x) {
  /* volatile: multiplied, rounded, then added and rounded, as where the policy was judged. A fused multiply-add rounds once, and
     an x87 keeps more digits than a float has until it is stored. */
  volatile float rounded = x * POLICY_READ_FLOAT(scale + PAIR(i));
  rounded = rounded + POLICY_READ_FLOAT(offset + PAIR(i));
  const float real = rounded;
  if (i == 0) saturated = 0;
  /* Clamped first: a cast of what no int holds is undefined. */
  if (real >= 127.5f || real < -128.5f) {
    ++saturated;
    return real > 0.0f ? 127 : -128;
  }
  int whole = (int)real; /* towards zero; then halves to even, without a library */
  const float rest = real - (float)whole;
  if (rest > 0.5f || (rest == 0.5f && (whole & 1))) ++whole;
  if (rest < -0.5f || (rest == -0.5f && (whole & 1))) --whole;
  return (int8_t)whole;
}

int policy_quantize(const float observation[POLICY_INPUTS], int8_t input[POLICY_INPUTS]) {
  for (size_t i = 0; i < POLICY_INPUTS; ++i) {
    const float x = observation[i];
    if (x - x != 0.0f) return 0; /* a NaN or an infinity */
    input[i] = policy_feature(i, x);
  }
  return 1;
}

/* Counts from least to most are not clamped. Of such a count, (count - least) * 2^shift * multiplier / 2^32 + base is how many
   steps its input lies above -128.5, times 2^23. Where the input falls as counts rise, shift is ~shift, and counts are ~count. */
typedef struct {
  int32_t least, most;
  uint32_t multiplier, base;
  int8_t shift;
} fixed_point;

static const fixed_point fixed_points[POLICY_INPUT_PAIRS] POLICY_FLASH = POLICY_INPUT_Q;

int8_t policy_feature_q(size_t i, int32_t count) {
  const fixed_point *const fixed = fixed_points + PAIR(i);
  int shift = POLICY_READ_INT8(&fixed->shift);
  const int32_t least = POLICY_READ_INT32(&fixed->least);
  if (i == 0) saturated = 0;
  if (shift < 0) {
    shift = ~shift;
    count = ~count;
  }
  if (count < least || count > POLICY_READ_INT32(&fixed->most)) {
    ++saturated;
    return count < least ? -128 : 127;
  }
  const uint32_t distance = ((uint32_t)count - (uint32_t)least) << shift;
  const uint64_t product = (uint64_t)distance * (uint32_t)POLICY_READ_INT32(&fixed->multiplier);
  const uint32_t above = (uint32_t)(product >> 32) + (uint32_t)POLICY_READ_INT32(&fixed->base);
  int whole = (int)(above >> 23); /* 0 .. 255: halves went up */
  if ((whole & 1) && (above & 0x7fffffu) == 0) --whole;
  return (int8_t)(whole - 128);
}

void policy_quantize_q(const int32_t observation[POLICY_INPUTS], int8_t input[POLICY_INPUTS]) {
  for (size_t i = 0; i < POLICY_INPUTS; ++i) input[i] = policy_feature_q(i, observation[i]);
}

int policy_saturated(void) { return saturated; }

int policy_argmax(const int8_t output[POLICY_ACTIONS]) {
  int best = 0;
  for (int action = 1; action < POLICY_ACTIONS; ++action)
    if (output[action] > output[best]) best = action;
  return best;
}

int policy_argmax_legal(const int8_t output[POLICY_ACTIONS], const uint8_t legal[POLICY_ACTIONS]) {
  int best = -1;
  for (int action = 0; action < POLICY_ACTIONS; ++action)
    if (legal[action] && (best < 0 || output[action] > output[best])) best = action;
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
