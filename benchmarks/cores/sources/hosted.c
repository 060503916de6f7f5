/* Under an operating system. Nothing here is counted. */
#include <stdio.h>
#include <stdlib.h>
#include "port.h"
void put_text(const char *text) { (void)fputs(text, stdout); }
uint8_t get_byte(void) {
  (void)fflush(stdout); /* who answers may wait for it */
  const int byte = getchar();
  if (byte == EOF) exit(98);
  return (uint8_t)byte;
}
uint32_t count(void) { return 0; }
