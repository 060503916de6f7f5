from edgedqn.pipeline.sweeps.curves import mean_curve, median_curve


def test_the_mean_is_of_the_best_so_far_where_all_have_been() -> None:
    curves = [((100, 1.0), (200, 0.5), (300, 4.0)), ((100, 3.0), (200, 5.0))]
    assert mean_curve(curves) == {100: 2.0, 200: 3.0}
    assert mean_curve([]) == {}


def test_the_median_is_of_those_that_had_been_there() -> None:
    curves = [{100: 1.0, 200: 9.0}, {100: 2.0}, {100: 6.0, 200: 5.0}]
    assert median_curve(curves) == ((100, 2.0), (200, 7.0))
    assert median_curve([]) == ()
