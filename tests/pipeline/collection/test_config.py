import pytest

from edgedqn.agents.errors import InputError
from edgedqn.pipeline.collection.config import CollectionConfig


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"actors": 0}, "Expected actors of 1 or more. Got actors=0"),
        ({"publish_every": 1.5}, "Expected publish_every of 1 or more. Got publish_every=1.5"),
        ({"chunk_steps": True}, "Expected chunk_steps of 1 or more"),
        ({"policy": "int4"}, "one of int8, float. Got policy='int4'"),
    ],
)
def test_what_cannot_be_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        CollectionConfig(**settings)  # type: ignore[arg-type]


def test_each_actor_has_an_epsilon_of_its_own() -> None:
    exponents = [CollectionConfig(actors=8).exponent(actor) for actor in range(8)]
    # Ape-X: epsilon_i = epsilon ** (1 + alpha i / (N - 1)), epsilon 0.4, alpha 7.
    assert [0.4**each for each in exponents] == pytest.approx([0.4 ** (1 + i) for i in range(8)])
    assert CollectionConfig(actors=1).exponent(0) == 1


def test_an_address_is_not_written_down() -> None:
    config = CollectionConfig(actors=3, policy="float", address="127.0.0.1:1")
    written = config.written.to_json()
    assert "address" not in written
    assert CollectionConfig.from_json(written) == CollectionConfig(actors=3, policy="float")


def test_the_slack_is_what_may_be_in_flight() -> None:
    assert CollectionConfig(actors=3, chunk_steps=10, chunks_ahead=2).slack_steps == 60
