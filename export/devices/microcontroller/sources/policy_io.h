/* Around the network, in plain C: observation to int8, int8 to action. */
#ifndef POLICY_IO_H
#define POLICY_IO_H

#include <stddef.h>
#include <stdint.h>

#include "policy_settings.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The network's input: observation * scale + offset, rounded half to even, clamped.
   1; or 0, with input unfinished, where an observation is no finite number. */
int policy_quantize(const float observation[POLICY_INPUTS], int8_t input[POLICY_INPUTS]);

/* The same by integers alone, of counts that stand for count * unit: Q16.16, or POLICY_INPUT_UNIT of policy_settings.h. Where x is
   the float32 nearest to count * unit, the input is the one that policy_quantize() makes of x, unless count * unit * scale + offset
   lies closer than (386 + 3 |offset|) / 2^24 to some n + 1/2: so much the roundings of its three float operations can move it.
   Those of this one move it by less than 6 / 2^24. */
void policy_quantize_q(const int32_t observation[POLICY_INPUTS], int8_t input[POLICY_INPUTS]);

/* How many features of the last observation were clamped: they round to less than -128 or to more than 127. Much of that means
   sensors, or a world, outside what the policy was trained on. After policy_quantize() gave 0 it means nothing. */
int policy_saturated(void);

/* One feature of an observation, i = 0 first and the others in order. x is finite. */
int8_t policy_feature(size_t i, float x);
int8_t policy_feature_q(size_t i, int32_t count);

/* The action: the index of the largest output, the lowest among equals. */
int policy_argmax(const int8_t output[POLICY_ACTIONS]);

/* The same among the actions that are legal, of which legal[i] is not 0; -1 where none is. */
int policy_argmax_legal(const int8_t output[POLICY_ACTIONS], const uint8_t legal[POLICY_ACTIONS]);

/* CRC-32 as of zlib and Ethernet, to tell whether the model arrived in flash whole. */
uint32_t policy_crc32(const unsigned char *data, size_t size);

#ifdef __cplusplus
}
#endif

#endif
