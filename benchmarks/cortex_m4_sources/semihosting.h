#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif
void put_text(const char *text);
void put_number(int32_t value); /* and a space */
#ifdef __cplusplus
}
#endif
