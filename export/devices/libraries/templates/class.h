// The policy as a class, C++11. Made by EdgeDQN from $sha256.
#ifndef ${name}_H
#define ${name}_H

#include <stdint.h>

#include "policy_engine.h"
$headers
#if POLICY_USE_TFLM
#include "policy_step.h"
#else
#include "policy.h"
#endif

class Policy {
 public:
  // observation: float [POLICY_INPUTS], what the network takes; see policy_settings.h. Returns the action,
  // 0 .. POLICY_ACTIONS - 1; or -1, where a number is a NaN or an infinity, or TensorFlow Lite Micro does not run the model.
#if POLICY_USE_TFLM
  int act(const float *observation) { return policy_setup() ? policy_step(observation) : -1; }
#else
  int act(const float *observation) {
    if (!policy_quantize(observation, input_)) return -1;
    policy_infer(input_, output_);
    return $choice;
  }

 private:
  int8_t input_[POLICY_INPUTS] = {}, output_[POLICY_ACTIONS] = {};
#endif
};

#endif
