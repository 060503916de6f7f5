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

/* TFLite Micro took $arena_measured bytes where pointers have 64 bits; a microcontroller's have 32. The rest is the margin. */
#define POLICY_ARENA_BYTES $arena

$memory
#define POLICY_MODEL_BYTES $model_bytes
#define POLICY_MODEL_CRC32 $crc

#endif
