/* Where constants lie: in flash. Most chips read it as they read RAM; an AVR has an instruction of its own for it, and would copy
   plain `const` tables to RAM when it starts. POLICY_READ() gives a struct where it can be read: in flash, or in its copy. */
#ifndef POLICY_FLASH_H
#define POLICY_FLASH_H

#include <stdint.h>

#if defined(__AVR__)
#include <avr/pgmspace.h>
#define POLICY_FLASH PROGMEM
#define POLICY_READ_INT8(from) ((int8_t)pgm_read_byte(from))
#define POLICY_READ_INT32(from) ((int32_t)pgm_read_dword(from))
#define POLICY_READ_FLOAT(from) pgm_read_float(from)
#define POLICY_READ(copy, from) ((void)memcpy_P((copy), (from), sizeof *(copy)), (copy))
#else
#define POLICY_FLASH
#define POLICY_READ_INT8(from) (*(from))
#define POLICY_READ_INT32(from) (*(from))
#define POLICY_READ_FLOAT(from) (*(from))
#define POLICY_READ(copy, from) ((void)(copy), (from))
#endif

#endif
