/* What a program has on every core. */
#ifndef PORT_H
#define PORT_H
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif
void put_text(const char *text);
void put_number(int32_t value); /* and a space */
uint8_t get_byte(void);         /* waits for it; where no more will come, the program ends with status 98, but an AVR waits on */
int32_t get_int32(void);        /* of four bytes, the lowest first */
float get_float(void);          /* likewise */
uint32_t count(void);           /* of what the core counts, since some moment; differences hold where it comes around */
#ifdef __cplusplus
}
#endif
#endif
