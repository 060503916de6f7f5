/* What a step costs: the stack, in painted memory, and the count. Where it is linked with stubs.c alone, it is what is not the
   policy's. What comes before the network starts from REALS or from COUNTS; or, where a chip has no room for all features as
   numbers of 32 bits, from an OBSERVATION. */
#include "policy.h"
#include "port.h"
#include "stack.h"
#ifdef OBSERVATION
#include "policy_observe.h"
static policy_element observation[POLICY_OBSERVATION];
#define VALUES POLICY_OBSERVATION
#define VALUE(i) (i & 1)
#if POLICY_MASKED
static const uint8_t legal[POLICY_ACTIONS] = {1};
#define QUANTIZE() (void)policy_observe(observation, legal, input)
#else
#define QUANTIZE() (void)policy_observe(observation, input)
#endif
#else
int policy_quantize(const float *observation, int8_t *input);
void policy_quantize_q(const int32_t *observation, int8_t *input);
#define VALUES POLICY_INPUTS
#define VALUE(i) (0.01f * (float)(37 * i % 64 - 31))
#ifdef REALS
static float observation[POLICY_INPUTS];
#define QUANTIZE() (void)policy_quantize(observation, input)
#else
static int32_t observation[POLICY_INPUTS];
#define QUANTIZE() policy_quantize_q(observation, input)
#undef VALUE
#define VALUE(i) (int32_t)(655.36f * (float)(37 * i % 64 - 31)) /* in Q16.16 */
#endif
#endif
static int8_t input[POLICY_INPUTS], output[POLICY_OUTPUTS];

int main(void) {
  for (int i = 0; i < POLICY_INPUTS; ++i) input[i] = (int8_t)(37 * i + 11);
  for (int i = 0; i < VALUES; ++i) observation[i] = VALUE(i);
  volatile uint8_t *const top = stack_pointer();
  const uintptr_t depth = painted_below(top);
  policy_infer(input, output);
  QUANTIZE();
  put_number((int32_t)used_below(top, depth));
  put_number((int32_t)depth);

  uint32_t before = count();
  policy_infer(input, output);
  put_number((int32_t)(count() - before));
  before = count();
  QUANTIZE();
  put_number((int32_t)(count() - before));
  return 0;
}
