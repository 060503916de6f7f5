#pragma once
#include <stdint.h>

#define TFLITE_SCHEMA_VERSION (3)

namespace tflite {
class Model {
 public:
  uint32_t version() const { return TFLITE_SCHEMA_VERSION; }
};
inline const Model* GetModel(const void* buffer) { return static_cast<const Model*>(buffer); }
}  // namespace tflite
