// The policy as a class, C++11: observation in, action out. Made by EdgeDQN from $sha256.
#ifndef ${name}_H
#define ${name}_H

#include <stdint.h>

#include "policy_engine.h"
#include "policy_io.h"
#include "policy_observe.h"
$include#if POLICY_USE_TFLM
#include "policy_step.h"
#else
#include "policy.h"
#endif

// The observations of an episode are remembered once for all objects.
class Policy {
 public:
  // Before each episode: forgets the observations of the last one.
  void reset() { policy_reset(); }

  // What policy_observe.h says, as the environment gives it. Returns the action, 0 .. POLICY_ACTIONS - 1; or -1: nothing that
  // policy_observe() takes, or TensorFlow Lite Micro does not run the model.
  int act(const policy_element observation[POLICY_OBSERVATION]$parameter) {
#if POLICY_USE_TFLM
    return policy_setup() ? policy_step(observation$argument) : -1;
#else
    if (!policy_observe(observation$argument, input_)) return -1;
    policy_infer(input_, output_);
    return $choice;
#endif
  }

  // How many features of the last observation were clamped. Many: sensors outside what the policy was trained on.
  int saturated() const { return policy_saturated(); }
$own_action
#if !POLICY_USE_TFLM
 private:
  int8_t input_[POLICY_INPUTS] = {}, output_[POLICY_ACTIONS] = {};
#endif
};

#endif
