/* QEMU loads .data in place and hands out zeroed memory, so there is nothing to do before main. */
#include <stdint.h>
#include "semihosting.h"
extern uint32_t stack_top[];
int main(void);
static int semihost(int operation, const void *argument) {
  register int r0 __asm__("r0") = operation;
  register const void *r1 __asm__("r1") = argument;
  __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
  return r0;
}
void put_text(const char *text) { (void)semihost(0x04, text); }
void put_number(int32_t value) {
  char text[13] = {0};
  int at = 11;
  uint32_t rest = value < 0 ? 0u - (uint32_t)value : (uint32_t)value;
  text[at] = ' ';
  do text[--at] = (char)('0' + rest % 10u); while (rest /= 10u);
  if (value < 0) text[--at] = '-';
  put_text(text + at);
}
static void quit(uint32_t status) {
  const uint32_t block[2] = {0x20026, status}; /* ADP_Stopped_ApplicationExit */
  (void)semihost(0x20, block);
  for (;;) {}
}
void reset(void) { quit((uint32_t)main()); }
static void fault(void) { quit(99); }
typedef union { uint32_t *stack; void (*handler)(void); } vector;
__attribute__((section(".vectors"), used)) static const vector vectors[16] = {
  {.stack = stack_top}, {.handler = reset}, {.handler = fault}, {.handler = fault}, {.handler = fault}, {.handler = fault},
  {.handler = fault}};
