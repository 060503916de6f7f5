/* Around the network, in plain C: observation to int8, int8 to action. */
#ifndef POLICY_IO_H
#define POLICY_IO_H

#include <stddef.h>
#include <stdint.h>

#include "policy_settings.h"

#ifdef __cplusplus
extern "C" {
#endif

/* 1; or 0, with input unfinished, where an observation is no finite number. */
int policy_quantize(const float observation[POLICY_INPUTS], int8_t input[POLICY_INPUTS]);

/* The action: the index of the largest output, the lowest among equals. */
int policy_argmax(const int8_t output[POLICY_ACTIONS]);

/* The same among the actions that are legal, of which legal[i] is not 0; -1 where none is. */
int policy_argmax_legal(const int8_t output[POLICY_ACTIONS], const float legal[POLICY_ACTIONS]);

/* CRC-32 as of zlib and Ethernet, to tell whether the model arrived in flash whole. */
uint32_t policy_crc32(const unsigned char *data, size_t size);

#ifdef __cplusplus
}
#endif

#endif
