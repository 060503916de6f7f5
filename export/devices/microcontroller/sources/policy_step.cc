#include "policy_step.h"

#include <stdint.h>

#include "policy_io.h"
#include "policy_model.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/schema/schema_generated.h"

namespace {
alignas(16) uint8_t arena[POLICY_ARENA_BYTES];
tflite::MicroInterpreter* interpreter = nullptr;

// Exactly the operators of this policy: each one more would bring its kernel along.
bool add_operators(tflite::MicroMutableOpResolver<$operator_count>& resolver) {
  return $resolver_lines;
}
}  // namespace

bool policy_setup() {
  if (interpreter != nullptr) return true;
  if (policy_crc32(g_policy_model_data, g_policy_model_data_size) != POLICY_MODEL_CRC32) return false;
  const tflite::Model* model = tflite::GetModel(g_policy_model_data);
  if (model->version() != TFLITE_SCHEMA_VERSION) return false;
  static tflite::MicroMutableOpResolver<$operator_count> resolver;
  if (!add_operators(resolver)) return false;
  static tflite::MicroInterpreter prepared(model, resolver, arena, sizeof(arena));
  if (prepared.AllocateTensors() != kTfLiteOk) return false;
  if (prepared.input(0)->bytes != POLICY_INPUTS || prepared.output(0)->bytes != POLICY_ACTIONS) return false;
  interpreter = &prepared;
  return true;
}

int policy_step(const policy_element observation[POLICY_OBSERVATION]$parameter) {
  if (interpreter == nullptr || !policy_observe(observation$argument, interpreter->input(0)->data.int8)) return -1;
  if (interpreter->Invoke() != kTfLiteOk) return -1;
  return $choice;
}
