/* A random observation, to be played after policy_reset(), and EdgePolicy's action by TensorFlow Lite Micro's interpreter. */
#define EXPECTED_ACTION $action

static const policy_element observation[POLICY_OBSERVATION] = {
$numbers
};
$legal