/* AVR under simavr_host: UART 0 at 2 MBaud, and two general purpose registers by which the host is told and asked. */
#include <avr/interrupt.h>
#include <avr/io.h>
#include <avr/sleep.h>
#include "port.h"
void exit(int status); /* the C library's start-up ends with it */

__attribute__((constructor, used)) static void open_uart(void) {
  UCSR0A = _BV(U2X0);
  UCSR0B = _BV(RXEN0) | _BV(TXEN0);
}
void put_text(const char *text) {
  for (; *text; ++text) {
    while (!(UCSR0A & _BV(UDRE0))) {}
    UDR0 = (uint8_t)*text;
  }
}
uint8_t get_byte(void) {
  while (!(UCSR0A & _BV(RXC0))) {}
  return UDR0;
}
/* A write makes the host note its count of cycles; four reads get it. */
uint32_t count(void) {
  uint32_t cycles = 0;
  GPIOR1 = 0;
  for (uint8_t shift = 0; shift < 32; shift = (uint8_t)(shift + 8)) cycles |= (uint32_t)GPIOR1 << shift;
  return cycles;
}
void exit(int status) {
  GPIOR0 = (uint8_t)status;
  cli();
  for (;;) sleep_mode(); /* with interrupts off, the end */
}
