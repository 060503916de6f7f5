/* An observation that was drawn at random, the first of an episode, and EdgePolicy's action by TensorFlow Lite Micro's interpreter. */
#define EXPECTED_ACTION $action

static const policy_element observation[POLICY_OBSERVATION] = {
$numbers
};
$legal