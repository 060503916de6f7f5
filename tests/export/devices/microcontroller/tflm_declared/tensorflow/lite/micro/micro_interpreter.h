// What policy_step.cc uses of TFLite Micro, declared as its own headers declare it, and run by policy.c instead of kernels: a
// mistake in how tensors are filled and read shows in the actions. That the real library links is not shown by it.
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "policy.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/schema/schema_generated.h"

typedef union TfLitePtrUnion {
  int8_t* int8;
} TfLitePtrUnion;

typedef struct TfLiteTensor {
  TfLitePtrUnion data;
  size_t bytes;
} TfLiteTensor;

namespace tflite {
class MicroInterpreter {
 public:
  MicroInterpreter(const Model* model, const MicroOpResolver& resolver, uint8_t* arena, size_t arena_size)
      : whole_(model != nullptr && arena_size == POLICY_ARENA_BYTES && reinterpret_cast<uintptr_t>(arena) % 16 == 0),
        registered_(resolver.registered()),
        input_{{reinterpret_cast<int8_t*>(arena)}, POLICY_INPUTS},
        output_{{reinterpret_cast<int8_t*>(arena) + POLICY_INPUTS}, POLICY_OUTPUTS} {}
  TfLiteStatus AllocateTensors() {
    allocated_ = whole_ && registered_ > 0;
    return allocated_ ? kTfLiteOk : kTfLiteError;
  }
  TfLiteStatus Invoke() {
    if (!allocated_) return kTfLiteError;
    policy_infer(input_.data.int8, output_.data.int8);
    return kTfLiteOk;
  }
  TfLiteTensor* input(size_t index) { return index == 0 && allocated_ ? &input_ : nullptr; }
  TfLiteTensor* output(size_t index) { return index == 0 && allocated_ ? &output_ : nullptr; }

 private:
  bool whole_;
  unsigned registered_;
  bool allocated_ = false;
  TfLiteTensor input_, output_;
};
}  // namespace tflite
