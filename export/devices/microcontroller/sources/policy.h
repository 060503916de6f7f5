/* The policy's network in integers: the same rows as TFLite Micro gives, without it. Made by EdgeDQN from $sha256. */
#ifndef POLICY_H
#define POLICY_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define POLICY_INPUTS $inputs
#define POLICY_OUTPUTS $outputs

$memory
/* input: as policy_quantize() of policy_io.h writes it; images row by row, the channels of a pixel side by side. output: one
   number per action, for policy_argmax(). scratch: what is in it before and after means nothing. The three do not overlap. */
void policy_infer_in(const int8_t input[POLICY_INPUTS], int8_t output[POLICY_OUTPUTS], int8_t scratch[POLICY_SCRATCH_BYTES]);

/* The same with scratch $place. */
void policy_infer(const int8_t input[POLICY_INPUTS], int8_t output[POLICY_OUTPUTS]);

#ifdef __cplusplus
}
#endif

#endif
