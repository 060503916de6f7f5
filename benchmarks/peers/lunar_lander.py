"""A controller of LunarLander-v3 by hand, to be imported: it leans against its drift and brakes in proportion to its height.

    edgedqn import edgedqn.benchmarks.peers.lunar_lander:land LunarLander-v3 --gives action

Its constants are the best of sixteen sets, by 20 episodes of reset seeds 5,000,000 and above.
"""

from typing import Any

from numpy.typing import NDArray

WAIT, LEFT_ENGINE, MAIN_ENGINE, RIGHT_ENGINE = range(4)
PER_OFFSET, PER_DRIFT, MOST_TILT = 0.3, 0.8, 0.5  # the wanted tilt, in radians
DAMPING = 2.0  # of the turn towards it
SLOWEST, PER_HEIGHT = 0.1, 0.5  # the wanted descent: at the ground, and more for each unit of height
LEAST = 0.1  # of a turn or a push; below, no engine is worth its fuel
TURN_SHARE = 0.25  # of a turn that a push must exceed to come first


def land(observation: NDArray[Any]) -> int:
    """[8] -> an action."""
    x, y, x_velocity, y_velocity, angle, spin, left_leg, right_leg = observation.tolist()
    if left_leg or right_leg:
        return MAIN_ENGINE if y_velocity < -SLOWEST and not (left_leg and right_leg) else WAIT
    tilt = min(max(PER_OFFSET * x + PER_DRIFT * x_velocity, -MOST_TILT), MOST_TILT)
    turn = tilt - angle - DAMPING * spin  # > 0: counter-clockwise
    push = -SLOWEST - PER_HEIGHT * y - y_velocity
    if push > max(LEAST, TURN_SHARE * abs(turn)):
        return MAIN_ENGINE
    if abs(turn) > LEAST:
        return LEFT_ENGINE if turn > 0 else RIGHT_ENGINE
    return WAIT
