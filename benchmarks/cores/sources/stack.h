/* How much stack is used: memory below main's frame is painted, and looked at afterwards. Between the two there may be no call but
   the one that is measured. */
#ifndef STACK_H
#define STACK_H
#include <stdint.h>
#define DEEPEST 49152u /* bytes of stack that are looked at, where there are so many */
#define ALWAYS_INLINE static inline __attribute__((always_inline))
enum { PAINT = 0xA5 };
extern uint8_t _end[]; /* of static memory, above which the stack lies */

ALWAYS_INLINE volatile uint8_t *stack_pointer(void) {
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
  return (volatile uint8_t *)top;
}

/* How many bytes are painted. */
ALWAYS_INLINE uintptr_t painted_below(volatile uint8_t *top) {
  const uintptr_t room = (uintptr_t)top - (uintptr_t)_end, depth = room < DEEPEST ? room : DEEPEST;
  for (volatile uint8_t *at = top - depth; at != top; ++at) *at = PAINT;
  return depth;
}

/* How many of them, from the top, something was written to. */
ALWAYS_INLINE uintptr_t used_below(volatile uint8_t *top, uintptr_t depth) {
  volatile uint8_t *at = top - depth;
  for (; at != top && *at == PAINT; ++at) {}
  return (uintptr_t)(top - at);
}
#endif
