// The policy's .tflite, to be placed in flash; POLICY_MODEL_CRC32 of policy_settings.h is its checksum.
#ifndef POLICY_MODEL_H
#define POLICY_MODEL_H

#include "policy_settings.h"

extern const unsigned char g_policy_model_data[POLICY_MODEL_BYTES];
extern const unsigned int g_policy_model_data_size;

#endif
