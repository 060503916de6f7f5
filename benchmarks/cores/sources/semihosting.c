/* Cortex-M and RISC-V: start-up, and a debugger's calls, which QEMU answers. It loads .data in place and hands out zeroed memory,
   so there is nothing to copy before main. */
#include <stddef.h>
#include "port.h"
int main(void);
void reset(void);
enum { OPEN = 0x01, WRITE0 = 0x04, READ = 0x06, EXIT_EXTENDED = 0x20 };

static uintptr_t semihost(uintptr_t operation, const void *argument) {
#ifdef __riscv
  register uintptr_t result __asm__("a0") = operation;
  register const void *block __asm__("a1") = argument;
  /* The three are one call where they lie in one page. */
  __asm__ volatile(".option push\n .option norvc\n .balign 16\n slli zero, zero, 0x1f\n ebreak\n srai zero, zero, 7\n .option pop"
                   : "+r"(result) : "r"(block) : "memory");
#else
  register uintptr_t result __asm__("r0") = operation;
  register const void *block __asm__("r1") = argument;
  __asm__ volatile("bkpt 0xab" : "+r"(result) : "r"(block) : "memory");
#endif
  return result;
}

static void quit(uintptr_t status) {
  const uintptr_t block[2] = {0x20026, status}; /* ADP_Stopped_ApplicationExit */
  (void)semihost(EXIT_EXTENDED, block);
  for (;;) {}
}

void put_text(const char *text) { (void)semihost(WRITE0, text); }

uint8_t get_byte(void) {
  static const char name[] = "/dev/stdin";
  static uint8_t buffer[256];
  static uintptr_t file, at, end;
  if (at == end) {
    if (!file) file = semihost(OPEN, (const uintptr_t[3]){(uintptr_t)name, 1, sizeof name - 1}); /* 1: "rb" */
    const uintptr_t left = semihost(READ, (const uintptr_t[3]){file, (uintptr_t)buffer, sizeof buffer});
    if (left >= sizeof buffer) quit(98);
    at = 0;
    end = sizeof buffer - left;
  }
  return buffer[at++];
}

/* What GCC may call where there is no library; volatile, so that it does not call them for these loops, too. */
void *memset(void *to, int value, size_t size) {
  for (volatile uint8_t *at = to; size--; ++at) *at = (uint8_t)value;
  return to;
}
void *memcpy(void *restrict to, const void *restrict from, size_t size) {
  const uint8_t *source = from;
  for (volatile uint8_t *at = to; size--; ++at) *at = *source++;
  return to;
}

#ifdef __riscv
uint32_t count(void) {
  uint32_t instructions;
  __asm__ volatile(".option push\n .option arch, +zicsr\n csrr %0, minstret\n .option pop" : "=r"(instructions));
  return instructions;
}
__attribute__((used, aligned(4))) static void fault(void) { quit(99); }
__attribute__((used)) static void start(void) { quit((uintptr_t)main()); }
__asm__(
    ".pushsection .vectors, \"ax\"\n .global reset\n .option push\n .option arch, +zicsr\n"
    "reset: la sp, stack_top\n la t0, fault\n csrw mtvec, t0\n"
#ifdef __riscv_flen
    "li t0, 0x2000\n csrs mstatus, t0\n" /* the FPU, which is off at first */
#endif
    "j start\n .option pop\n .popsection");
#else
#define CONTROL (*(volatile uint32_t *)0xE000E010u)
#define RELOAD (*(volatile uint32_t *)0xE000E014u)
#define CURRENT (*(volatile uint32_t *)0xE000E018u)
#define COPROCESSORS (*(volatile uint32_t *)0xE000ED88u)
static volatile uint32_t turns;
static void turn(void) { ++turns; }
/* SysTick counts down in 24 bits, and an interrupt says when it comes around: ten instructions or so in 2.6 million. */
uint32_t count(void) {
  if (!(CONTROL & 1u)) {
    RELOAD = 0xFFFFFF;
    CURRENT = 0;
    CONTROL = 7;
  }
  uint32_t turn_now, ticks;
  do {
    turn_now = turns;
    ticks = CURRENT;
  } while (turn_now != turns);
  return (turn_now << 24) + (0xFFFFFFu - ticks);
}
static void fault(void) { quit(99); }
void reset(void) {
#ifdef __ARM_FP
  COPROCESSORS |= 0xF00000; /* the FPU, which is off at first */
  __asm__ volatile("dsb\n isb" : : : "memory");
#endif
  quit((uintptr_t)main());
}
extern uint32_t stack_top[];
typedef union { uint32_t *stack; void (*handler)(void); } vector;
__attribute__((section(".vectors"), used)) static const vector vectors[16] = {
  {.stack = stack_top}, {.handler = reset}, {.handler = fault}, {.handler = fault}, {.handler = fault}, {.handler = fault},
  {.handler = fault}, {.handler = fault}, [15] = {.handler = turn}};
#endif
