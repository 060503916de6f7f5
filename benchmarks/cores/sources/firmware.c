/* A firmware's loop round a policy, from an observation to an action. As it is, nothing else is in the program, which is weighed.
   With MEASURED it reads observations, the first of which begins an episode, and says how deep the stack became, of how many bytes
   that were looked at, and the most that a step took. */
#include "policy.h"
#include "policy_io.h"
#include "policy_observe.h"
#include "port.h"
#include "stack.h"
static policy_element observation[POLICY_OBSERVATION];
static int8_t input[POLICY_INPUTS], output[POLICY_OUTPUTS];
#if POLICY_MASKED
static uint8_t legal[POLICY_ACTIONS] = {1};
#define OBSERVED(observation, input) policy_observe(observation, legal, input)
#define CHOSEN(output) policy_argmax_legal(output, legal)
#else
#define OBSERVED(observation, input) policy_observe(observation, input)
#define CHOSEN(output) policy_argmax(output)
#endif

static int step(void) {
  if (!OBSERVED(observation, input)) return -1;
  policy_infer(input, output);
  return CHOSEN(output);
}

#ifdef MEASURED
static void sense(void) {
  uint8_t *const bytes = (uint8_t *)observation;
  for (size_t i = 0; i < sizeof observation; ++i) bytes[i] = get_byte();
}

int main(void) {
  uint8_t left = get_byte();
  policy_reset();
  sense();
  volatile uint8_t *const top = stack_pointer();
  const uintptr_t depth = painted_below(top);
  if (step() < 0) return 1;
  put_number((int32_t)used_below(top, depth));
  put_number((int32_t)depth);

  uint32_t empty = count(), most = 0;
  empty = count() - empty;
  policy_reset(); /* the first step of an episode, which fills a stack of frames */
  do {
    const uint32_t before = count();
    if (step() < 0) return 1;
    const uint32_t taken = count() - before - empty;
    most = taken > most ? taken : most;
    if (--left) sense();
  } while (left);
  put_number((int32_t)most);
  return 0;
}
#else
volatile int action;
int main(void) {
  policy_reset();
  for (;;) action = step();
}
#endif
