// The policy on TFLite Micro: policy_setup() once, policy_reset() before each episode, then policy_step() for each observation.
#ifndef POLICY_STEP_H
#define POLICY_STEP_H

#include "policy_observe.h"

// False: the model did not arrive whole, is of another schema, or does not fit the arena.
bool policy_setup();

// The action, 0 .. POLICY_ACTIONS - 1; or -1: nothing that policy_observe() takes, no setup, or a failed invoke.
int policy_step(const policy_element observation[POLICY_OBSERVATION]$parameter);

#endif
