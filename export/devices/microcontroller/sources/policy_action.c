/* See policy_action.h. An action is one level of each of its numbers; the last changes fastest from index to index. */
#include "policy_action.h"

static const float levels[] = {$levels};
static const int counts[POLICY_ACTION_SIZE] = {$counts}; /* of the levels of each number */

int policy_action(int index, float action[POLICY_ACTION_SIZE]) {
  if (index < 0) return 0;
  const float *end = levels + sizeof levels / sizeof levels[0];
  for (int i = POLICY_ACTION_SIZE - 1; i >= 0; --i) {
    end -= counts[i];
    action[i] = end[index % counts[i]];
    index /= counts[i];
  }
  return 1;
}
