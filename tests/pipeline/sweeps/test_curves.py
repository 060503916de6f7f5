from pathlib import Path

import pytest

from edgedqn.pipeline.sweeps.curves import HopelessError, PatientLog, mean_curve, median_curve


def test_the_mean_is_of_the_best_so_far_where_all_have_been() -> None:
    curves = [((100, 1.0), (200, 0.5), (300, 4.0)), ((100, 3.0), (200, 5.0))]
    assert mean_curve(curves) == {100: 2.0, 200: 3.0}
    assert mean_curve([]) == {}


def test_the_median_is_of_those_that_had_been_there() -> None:
    curves = [{100: 1.0, 200: 9.0}, {100: 2.0}, {100: 6.0, 200: 5.0}]
    assert median_curve(curves) == ((100, 2.0), (200, 7.0))
    assert median_curve([]) == ()


def test_a_training_that_comes_to_too_little_is_given_up(tmp_path: Path) -> None:
    log = PatientLog(tmp_path, ((1_000, 5.0), (3_000, 20.0)))
    log.evaluation(500, 1.0)
    log.evaluation(1_000, 6.0)
    log.evaluation(2_000, 2.0)  # its best counts
    with pytest.raises(HopelessError, match=r"Its best is below 20 after 3,000 steps\."):
        log.evaluation(3_000, 19.0)
    assert log.curve == [(500, 1.0), (1_000, 6.0), (2_000, 2.0), (3_000, 19.0)]


def test_what_came_before_an_interruption_counts(tmp_path: Path) -> None:
    log = PatientLog(tmp_path, ((3_000, 5.0),))
    log.resume(2_500, [], [(1_000, 6.0), (2_000, 2.0)])
    log.evaluation(3_000, 1.0)
    assert log.curve == [(1_000, 6.0), (2_000, 2.0), (3_000, 1.0)]
