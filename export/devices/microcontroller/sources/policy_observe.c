/* See policy_observe.h. C99; not for -ffast-math, which assumes that every number is finite. */
#include "policy_observe.h"

#include "policy_io.h"

#define STATES $states /* 0: an observation is no number of a state */
#define FRAMES $frames /* stacked along the last axis, oldest first */
#define FRAME $frame /* numbers in a frame */
#define CHANNELS $channels /* of them along its last axis */
#define LEGAL_IN_FRAME $legal_in_frame /* whether a frame ends with which actions are legal */
#define FEATURE(i, x) $feature

#if FRAMES > 1
static policy_element frames[FRAMES][FRAME];
static int newest, started;

void policy_reset(void) { started = 0; }
#else
void policy_reset(void) {}
#endif

int policy_observe(const policy_element observation[POLICY_OBSERVATION]$parameter, int8_t input[POLICY_INPUTS]) {
  size_t i = 0;
#if STATES
  if (observation[0] < 0 || observation[0] >= STATES) return 0;
#endif
  for (size_t k = 0; k < POLICY_OBSERVATION; ++k)
    if (observation[k] - observation[k] != 0) return 0; /* a NaN or an infinity, where elements are floats */
#if POLICY_MASKED
  int any = 0;
  for (int action = 0; action < POLICY_ACTIONS; ++action) any |= legal[action];
  if (!any) return 0;
#endif

#if STATES
  for (; i < STATES; ++i) input[i] = FEATURE(i, (size_t)observation[0] == i);
#elif FRAMES == 1
  for (; i < POLICY_OBSERVATION; ++i) input[i] = FEATURE(i, observation[i]);
#else
  /* The first frame of an episode fills the stack. */
  for (int missing = started ? 1 : FRAMES; missing; --missing) {
    newest = newest + 1 < FRAMES ? newest + 1 : 0;
    for (size_t k = 0; k < POLICY_OBSERVATION; ++k) frames[newest][k] = observation[k];
#if LEGAL_IN_FRAME
    for (size_t k = POLICY_OBSERVATION; k < FRAME; ++k) frames[newest][k] = legal[k - POLICY_OBSERVATION] != 0;
#endif
  }
  started = 1;
  for (size_t first = 0; first < FRAME; first += CHANNELS)
    for (int frame = newest, left = FRAMES; left; --left) {
      frame = frame + 1 < FRAMES ? frame + 1 : 0; /* the one behind the newest is the oldest */
      for (size_t k = first; k < first + CHANNELS; ++k, ++i) input[i] = FEATURE(i, frames[frame][k]);
    }
#endif

#if POLICY_MASKED && !LEGAL_IN_FRAME
  for (int action = 0; action < POLICY_ACTIONS; ++action, ++i) input[i] = FEATURE(i, legal[action] != 0);
#endif
  return 1;
}
