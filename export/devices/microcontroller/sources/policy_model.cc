// Made by EdgeDQN from $sha256.
#include "policy_model.h"

// TFLite Micro reads weights in place, wherever the file aligns them at 16 bytes.
alignas(16) const unsigned char g_policy_model_data[POLICY_MODEL_BYTES] = {
$bytes
};
const unsigned int g_policy_model_data_size = POLICY_MODEL_BYTES;
