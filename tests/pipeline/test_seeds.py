"""Streams share nothing, and stay what they are."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from edgedqn.pipeline.seeds import BLOCK, STREAMS, SeedStreams

SEEDS = st.integers(0, 2**63)


@given(SEEDS, SEEDS)
def test_no_reset_seed_is_in_two_streams_even_of_two_runs(seed: int, other: int) -> None:
    # A stream would have to play BLOCK / 2 episodes to run into the next one.
    for first, second in itertools.combinations(STREAMS, 2):
        a, b = SeedStreams(seed).first_reset_seed(first), SeedStreams(other).first_reset_seed(second)
        assert a + BLOCK // 2 <= (STREAMS.index(first) + 1) * BLOCK <= b


@given(SEEDS)
def test_what_proves_was_seen_by_nothing_earlier(seed: int) -> None:
    streams = SeedStreams(seed)
    used = {name: set(streams.first_reset_seeds(name, 20_000)) for name in STREAMS}
    assert all(used["prove"].isdisjoint(used[name]) for name in STREAMS if name != "prove")


@given(SEEDS)
def test_every_environment_takes_the_reset_seeds(seed: int) -> None:
    for name in STREAMS:
        first = SeedStreams(seed).first_reset_seed(name)
        assert 0 <= first <= 2**31 - 1 - BLOCK // 2 or name == STREAMS[-1]
        assert first + 2**20 < 2**31


def test_generators_depend_on_seed_stream_and_purpose_and_on_nothing_else() -> None:
    def draw(seed: int, stream: str, purpose: str) -> int:
        return int(SeedStreams(seed).rng(stream, purpose).integers(2**62))

    keys = list(itertools.product((0, 1, 2), STREAMS, ("", "qat-int8", "prune-qat-int8")))
    assert len({draw(*key) for key in keys}) == len(keys)
    assert [draw(*key) for key in keys] == [draw(*key) for key in reversed(keys)][::-1]


def test_endless_and_first_seeds_are_the_same() -> None:
    streams = SeedStreams(3)
    assert list(itertools.islice(streams.reset_seeds("prove"), 5)) == streams.first_reset_seeds("prove", 5)
    assert streams.first_reset_seeds("prove", 2) == [streams.first_reset_seed("prove"), streams.first_reset_seed("prove") + 1]
