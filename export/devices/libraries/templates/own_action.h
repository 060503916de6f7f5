
  // The environment's own action of what act() gave, as policy_action.h says; of -1: false, and `own` is left as it was.
  bool action(int index, float own[POLICY_ACTION_SIZE]) const { return policy_action(index, own) != 0; }
