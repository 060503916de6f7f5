import json

from edgedqn.compression.judge import Judgement


def test_a_judgement_is_plain_json() -> None:
    judgement = Judgement(
        verdict="pass",
        mean_return=-98.5,
        loss=0.2,
        episodes=100,
        env_steps=9_850,
        size_bytes=1_136,
        action_agreement=0.9,
        gap_weighted_agreement=0.99,
        tie_rate=0.01,
    )
    told = json.loads(json.dumps(judgement.to_json(), allow_nan=False))
    assert told == {
        "verdict": "pass",
        "mean_return": -98.5,
        "loss": 0.2,
        "episodes": 100,
        "env_steps": 9_850,
        "size_bytes": 1_136,
        "action_agreement": 0.9,
        "gap_weighted_agreement": 0.99,
        "tie_rate": 0.01,
        "reason": "",
    }
