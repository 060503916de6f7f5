/* The policy's network in integers: the same rows as TFLite Micro gives, without it. Made by EdgeDQN from $sha256. */
#ifndef POLICY_H
#define POLICY_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define POLICY_INPUTS $inputs
#define POLICY_OUTPUTS $outputs

/* input: as policy_quantize() of policy_io.h writes it. output: one number per action, for policy_argmax(). */
void policy_infer(const int8_t input[POLICY_INPUTS], int8_t output[POLICY_OUTPUTS]);

#ifdef __cplusplus
}
#endif

#endif
