/* See policy_action.h. An action is one level of each of its numbers; the last changes fastest from index to index. */
#include "policy_action.h"

#include "policy_flash.h"

static const float levels[] POLICY_FLASH = {$levels};
static const int32_t counts[POLICY_ACTION_SIZE] POLICY_FLASH = {$counts}; /* of the levels of each number */

int policy_action(int index, float action[POLICY_ACTION_SIZE]) {
  if (index < 0) return 0;
  const float *end = levels + sizeof levels / sizeof levels[0];
  for (int i = POLICY_ACTION_SIZE - 1; i >= 0; --i) {
    const int count = (int)POLICY_READ_INT32(counts + i);
    end -= count;
    action[i] = POLICY_READ_FLOAT(end + index % count);
    index /= count;
  }
  return 1;
}
