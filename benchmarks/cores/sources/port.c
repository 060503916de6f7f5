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
int32_t get_int32(void) {
  uint32_t bits = 0;
  for (int shift = 0; shift < 32; shift += 8) bits |= (uint32_t)get_byte() << shift;
  return (int32_t)bits;
}
float get_float(void) {
  const union { int32_t bits; float value; } number = {get_int32()};
  return number.value;
}
