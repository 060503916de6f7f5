/* Answers tasks, each one byte and as many values as what it gives has: with a line of the network's input, its output, the
   action, and the count of the whole step. Task 0 ends. With LEAN, for chips without room for all features as numbers of 32 bits,
   there are neither REALS nor COUNTS. */
#include "policy.h"
#include "policy_io.h"
#include "policy_observe.h"
#include "port.h"
enum { END, OBSERVATION, REALS, COUNTS, INPUT };
static union {
  policy_element observation[POLICY_OBSERVATION];
#ifndef LEAN
  float reals[POLICY_INPUTS];
  int32_t counts[POLICY_INPUTS];
#endif
} given;
static int8_t input[POLICY_INPUTS], output[POLICY_OUTPUTS];

static void receive(uint8_t task) {
  const size_t values = task == OBSERVATION ? POLICY_OBSERVATION : POLICY_INPUTS;
  for (size_t i = 0; i < values; ++i)
    if (task == OBSERVATION) given.observation[i] = (policy_element)get_float();
#ifndef LEAN
    else if (task == REALS) given.reals[i] = get_float();
    else if (task == COUNTS) given.counts[i] = get_int32();
#endif
    else input[i] = (int8_t)get_byte();
}

static int prepare(uint8_t task) {
  if (task == OBSERVATION) return policy_observe(given.observation, input);
#ifndef LEAN
  if (task == REALS) return policy_quantize(given.reals, input);
  if (task == COUNTS) policy_quantize_q(given.counts, input);
#endif
  return 1;
}

int main(void) {
  uint32_t empty = count();
  empty = count() - empty;
  for (uint8_t task = get_byte(); task != END; task = get_byte()) {
    receive(task);
    const uint32_t before = count();
    if (!prepare(task)) return 1;
    policy_infer(input, output);
    const int action = policy_argmax(output);
    const uint32_t taken = count() - before - empty;
    for (size_t i = 0; i < POLICY_INPUTS; ++i) put_number(input[i]);
    for (size_t i = 0; i < POLICY_OUTPUTS; ++i) put_number(output[i]);
    put_number(action);
    put_number((int32_t)taken);
    put_text("\n");
  }
  return 0;
}
