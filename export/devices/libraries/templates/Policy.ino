// Prints the policy's action for a built-in observation, and the action that is expected.
#include <$name.h>

#include "observation.h"

Policy policy;

void setup() {
  Serial.begin(115200);
  while (!Serial) {
  }
  Serial.print("action ");
  Serial.print(policy.act(observation$argument));
  Serial.print(", expected ");
  Serial.println(EXPECTED_ACTION);
}

void loop() {}
