/* In place of the policy's files, where they are not linked. */
#include <stdint.h>
void policy_infer(const int8_t *input, int8_t *output);
int policy_quantize(const float *observation, int8_t *input);
void policy_quantize_q(const int32_t *observation, int8_t *input);
int policy_observe(const void *observation, int8_t *input);
__attribute__((weak)) void policy_infer(const int8_t *input, int8_t *output) { (void)input, (void)output; }
__attribute__((weak)) int policy_quantize(const float *observation, int8_t *input) { return (void)observation, (void)input, 1; }
__attribute__((weak)) void policy_quantize_q(const int32_t *observation, int8_t *input) { (void)observation, (void)input; }
__attribute__((weak)) int policy_observe(const void *observation, int8_t *input) { return (void)observation, (void)input, 1; }
