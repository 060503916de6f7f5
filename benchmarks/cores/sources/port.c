#include "port.h"
void put_number(int32_t value) {
  char text[13] = {0};
  int at = 11;
  uint32_t rest = value < 0 ? 0u - (uint32_t)value : (uint32_t)value;
  text[at] = ' ';
  do text[--at] = (char)('0' + (char)(rest % 10u)); while (rest /= 10u);
  if (value < 0) text[--at] = '-';
  put_text(text + at);
}
float get_float(void) {
  union { uint32_t bits; float value; } number = {0};
  for (int shift = 0; shift < 32; shift += 8) number.bits |= (uint32_t)get_byte() << shift;
  return number.value;
}
