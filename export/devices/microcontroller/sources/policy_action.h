/* The environment's own action of each index that policy_step() or policy_argmax() gives. Made by EdgeDQN from $sha256. */
#ifndef POLICY_ACTION_H
#define POLICY_ACTION_H

#ifdef __cplusplus
extern "C" {
#endif

#define POLICY_ACTION_SIZE $size

/* index: 0 .. POLICY_ACTIONS - 1. action: as the environment takes it, [$shape] of $dtype.
   Returns 1; or 0, and leaves action as it was, for -1, which policy_step() gives where there is no action. */
int policy_action(int index, float action[POLICY_ACTION_SIZE]);

#ifdef __cplusplus
}
#endif

#endif
