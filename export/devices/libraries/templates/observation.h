/* An observation as the network takes it, drawn at random, and the action that TensorFlow Lite Micro's interpreter gave for it. */
#define EXPECTED_ACTION $action

static const float observation[$inputs] = {
$numbers
};
