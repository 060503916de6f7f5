/* What a step costs: the stack, in painted memory, and the count. Where it is linked with stubs.c alone, it is what is not the
   policy's. */
#include "policy.h"
#include "port.h"
int policy_quantize(const float *observation, int8_t *input);
#define DEEPEST 49152u /* bytes of stack that are looked at, where there are so many */
enum { PAINT = 0xA5 };
extern uint8_t _end[]; /* of static memory, above which the stack lies */
static float observation[POLICY_INPUTS];
static int8_t input[POLICY_INPUTS], output[POLICY_OUTPUTS];

static inline uint8_t *stack_pointer(void) {
  uintptr_t top;
#if defined(__AVR__)
  top = *(volatile uint16_t *)0x5D + 1u; /* where the next byte goes is free, too */
#elif defined(__riscv)
  __asm__ volatile("mv %0, sp" : "=r"(top));
#elif defined(__s390x__)
  __asm__ volatile("lgr %0, %%r15" : "=r"(top));
#else
  __asm__ volatile("mov %0, sp" : "=r"(top));
#endif
  return (uint8_t *)top;
}

int main(void) {
  for (int i = 0; i < POLICY_INPUTS; ++i) {
    input[i] = (int8_t)(37 * i + 11);
    observation[i] = 0.01f * (float)(37 * i % 64 - 31);
  }
  /* No call between painting and looking but the policy's own. */
  volatile uint8_t *const top = stack_pointer(), *at;
  const uintptr_t room = (uintptr_t)top - (uintptr_t)_end, depth = room < DEEPEST ? room : DEEPEST;
  for (at = top - depth; at != top; ++at) *at = PAINT;
  policy_infer(input, output);
  (void)policy_quantize(observation, input);
  for (at = top - depth; at != top && *at == PAINT; ++at) {}
  put_number((int32_t)(top - at));
  put_number((int32_t)depth);

  uint32_t before = count();
  policy_infer(input, output);
  put_number((int32_t)(count() - before));
  before = count();
  (void)policy_quantize(observation, input);
  put_number((int32_t)(count() - before));
  return 0;
}
