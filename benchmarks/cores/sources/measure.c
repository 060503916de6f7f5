/* What a step costs: the stack, in painted memory, and the count. Where it is linked with stubs.c alone, it is what is not the
   policy's. */
#include "policy.h"
#include "port.h"
#include "stack.h"
int policy_quantize(const float *observation, int8_t *input);
static float observation[POLICY_INPUTS];
static int8_t input[POLICY_INPUTS], output[POLICY_OUTPUTS];

int main(void) {
  for (int i = 0; i < POLICY_INPUTS; ++i) {
    input[i] = (int8_t)(37 * i + 11);
    observation[i] = 0.01f * (float)(37 * i % 64 - 31);
  }
  volatile uint8_t *const top = stack_pointer();
  const uintptr_t depth = painted_below(top);
  policy_infer(input, output);
  (void)policy_quantize(observation, input);
  put_number((int32_t)used_below(top, depth));
  put_number((int32_t)depth);

  uint32_t before = count();
  policy_infer(input, output);
  put_number((int32_t)(count() - before));
  before = count();
  (void)policy_quantize(observation, input);
  put_number((int32_t)(count() - before));
  return 0;
}
