/* What a device must know of this policy. Made by EdgeDQN from $sha256. */
#ifndef POLICY_SETTINGS_H
#define POLICY_SETTINGS_H

/* $environment; an observation is [$shape], after: $preprocessing. */
#define POLICY_INPUTS $inputs
#define POLICY_ACTIONS $actions

/* input = observation * scale + offset, clamped to -128..127, rounded half to even. One pair for each feature or channel, or one for
   all. This scale multiplies; POLICY_OUTPUT_SCALE below is TFLite's step. */
#define POLICY_INPUT_PAIRS $pairs
#define POLICY_INPUT_SCALE \
  { $scale }
#define POLICY_INPUT_OFFSET \
  { $offset }

/* Without floating point: what one count of policy_quantize_q() stands for, and the numbers of its arithmetic, which policy_io.c
   describes. */
#define POLICY_INPUT_UNIT \
  { $unit }
#define POLICY_INPUT_Q \
  { $fixed_points }

/* $meaning = (output - zero point) * scale */
#define POLICY_OUTPUT_SCALE $output_scale
#define POLICY_OUTPUT_ZERO_POINT ($output_zero_point)

/* Bounds of what TFLite Micro takes, by the kernels it is built with: its own (measured where pointers have 64 bits, with a margin),
   and with the scratch buffers that Arm's and Espressif's may ask for. The default is the largest; the compiler may be told another,
   -DPOLICY_ARENA_BYTES=POLICY_ARENA_REFERENCE_BYTES. */
#define POLICY_ARENA_REFERENCE_BYTES $arena_reference
#define POLICY_ARENA_CMSIS_NN_BYTES $arena_cmsis_nn
#define POLICY_ARENA_ESP_NN_BYTES $arena_esp_nn
#ifndef POLICY_ARENA_BYTES
#define POLICY_ARENA_BYTES $arena
#endif

$memory
/* What policy_observe.c takes of RAM: an observation, and the ring of frames where those are stacked. */
#define POLICY_OBSERVE_RAM_BYTES $observe_ram

#define POLICY_MODEL_BYTES $model_bytes
#define POLICY_MODEL_CRC32 $crc

#endif
