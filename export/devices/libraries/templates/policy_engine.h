/* What computes the network: 0, policy.c, C99 and nothing else; 1, TensorFlow Lite Micro, the same integers, which has to be
   installed, and takes C++17. Made by EdgeDQN from $sha256. */
#ifndef POLICY_ENGINE_H
#define POLICY_ENGINE_H

#ifndef POLICY_USE_TFLM
#define POLICY_USE_TFLM $default
#endif

#endif
