/* From what sensors give to the network's input, as EdgePolicy does it in Python.
   Made by EdgeDQN from $sha256.
   An observation, [$shape] of $dtype, goes through: $preprocessing; then it is scaled and rounded. */
#ifndef POLICY_OBSERVE_H
#define POLICY_OBSERVE_H

#include <stdint.h>

#include "policy_settings.h"

#ifdef __cplusplus
extern "C" {
#endif

/* An observation: $meaning. */
#define POLICY_OBSERVATION $elements
typedef $element policy_element;

/* Whether whoever asks says which actions are legal: each element of `legal` that is not 0. */
#define POLICY_MASKED $masked

/* Before each episode: forgets the observations of the last one. */
void policy_reset(void);

/* Writes the network's input. 1; or 0, and nothing is changed: a NaN or an infinity, no such state, or no legal action. */
int policy_observe(const policy_element observation[POLICY_OBSERVATION]$parameter, int8_t input[POLICY_INPUTS]);

#ifdef __cplusplus
}
#endif

#endif
