/* Paints the stack below itself, counts one step, and looks how far down the paint is gone. */
#include "policy.h"
#include "semihosting.h"
#define CONTROL (*(volatile uint32_t *)0xE000E010u)
#define RELOAD (*(volatile uint32_t *)0xE000E014u)
#define CURRENT (*(volatile uint32_t *)0xE000E018u)
static int8_t input[POLICY_INPUTS], output[POLICY_OUTPUTS];
static void nothing(const int8_t *in, int8_t *out) { (void)in; (void)out; }
__attribute__((noinline)) static uint32_t stack_of(void (*step)(const int8_t *, int8_t *)) {
  volatile uint8_t *top, *at;
  __asm__ volatile("mov %0, sp" : "=r"(top));
  for (at = top - 16384; at != top; ++at) *at = 0xA5;
  step(input, output);
  for (at = top - 16384; at != top && *at == 0xA5; ++at) {}
  return (uint32_t)(top - at);
}
__attribute__((noinline)) static uint32_t ticks_of(void (*step)(const int8_t *, int8_t *)) {
  CURRENT = 0;
  const uint32_t before = CURRENT;
  (void)CONTROL; /* reading it forgets that the counter came around */
  step(input, output);
  return before - CURRENT;
}
int main(void) {
  RELOAD = 0xFFFFFF;
  CONTROL = 5;
  for (int i = 0; i < POLICY_INPUTS; ++i) input[i] = (int8_t)(37 * i + 11);
  put_number((int32_t)ticks_of(nothing));
  put_number((int32_t)ticks_of(policy_infer));
  put_number((int32_t)(CONTROL >> 16 & 1u));
  put_number((int32_t)stack_of(policy_infer));
  return 0;
}
