from edgedqn.pipeline.sweeps.jobs import FileResult
from edgedqn.pipeline.sweeps.trials import Tried, front, told_by_seed


def tried(number: int, bytes_: int, kept: float, verdict: str = "pass") -> Tried:
    file = FileResult(
        verdict=verdict,
        reason="",
        kept=kept,
        size_bytes=bytes_,
        multiply_accumulates=10,
        arena_bytes=None,
        sha256=f"{bytes_:064x}",
    )
    return Tried(number, {}, (), (file,))


def test_the_front_is_what_nothing_beats() -> None:
    trials = [tried(0, 10, 0.9), tried(1, 20, 0.9), tried(2, 20, 1.0), tried(3, 10, 0.9), tried(4, 1, 0.5, "fail")]
    assert [trial.number for trial in front(trials, ("return", "bytes"))] == [0, 2]
    assert front([], ("return",)) == []


def test_what_lacks_a_seed_has_not_passed() -> None:
    whole, cut = tried(0, 10, 0.9), tried(0, 20, 0.5)
    lacking = Tried(1, {}, (), (*cut.results, None), error="Seed 1: It cannot be done.")
    assert whole.passed and not lacking.passed and lacking.done == cut.results
    assert front([whole, lacking], ("bytes",)) == [whole]
    assert lacking.value("bytes") == 20


def test_errors_are_told_with_their_seeds() -> None:
    assert told_by_seed({}) == ""
    assert told_by_seed({0: "It is ill.", 3: "It is gone.", 4: "It is ill."}) == "Seeds 0, 4: It is ill. Seed 3: It is gone."
