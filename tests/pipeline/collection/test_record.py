import json

from edgedqn.pipeline.collection.config import CollectionConfig
from edgedqn.pipeline.collection.record import CollectionRecord


def test_it_says_that_nothing_of_it_comes_again_and_what_it_was() -> None:
    record = CollectionRecord(CollectionConfig(actors=2, policy="float", address="here"))
    record.took(64, 1_000, None)  # at random: by no weights
    record.took(64, 1_000, 100)
    record.took(32, 500, 400)
    record.env_steps, record.seconds = 160, 2.0
    found = record.to_json()
    assert found["reproducible"] is False and "address" not in found
    assert found["staleness"] == {"mean": 200.0, "max": 400}
    assert (found["collected_bytes"], found["steps_per_second"], found["slack_steps"]) == (2_500, 80.0, 256)
    assert json.loads(json.dumps(found)) == found


def test_nothing_collected_is_no_staleness() -> None:
    assert CollectionRecord(CollectionConfig()).to_json()["staleness"] == {"mean": None, "max": None}
