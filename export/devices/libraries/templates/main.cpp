// Prints the policy's action for a built-in observation, and the action that is expected.
#include <stdio.h>

#include "$name.h"
#include "observation.h"

static Policy policy;

static int check() {
  const int action = policy.act(observation$argument);
  printf("action %d, expected %d\n", action, EXPECTED_ACTION);
  return action != EXPECTED_ACTION;
}

$main
