"""The front matter of a bundle's README, by which the Hugging Face Hub knows a model.

Source: https://huggingface.co/docs/hub/model-cards; `model-index` as of Papers with Code.
"""

import json
from collections.abc import Mapping, Sequence

from edgedqn.export.edge_policy import VerifiedFile

LIBRARY = "edgedqn"
TASK = "reinforcement-learning"


def front_matter(file: VerifiedFile) -> str:
    """YAML between two lines of dashes: the library, tags, and the mean return of the proof, where that was measured."""
    env_id = file.device.env_id
    tags = [TASK, "deep-reinforcement-learning", "dqn", "tflite", "litert", *_precision(file), env_id]
    lines = [f"library_name: {LIBRARY}", f"pipeline_tag: {TASK}", "tags:", *(f"- {json.dumps(tag)}" for tag in tags)]
    match file.evidence.get("benchmark"):
        case {"return": {"mean": mean, "ci95": [low, high], "episodes": episodes}}:
            lines += _model_index(file, mean=mean, told=f"mean_reward, {episodes:,} episodes, 95 % [{low:.2f}, {high:.2f}]")
    return "\n".join(["---", *lines, "---", ""])


def _precision(file: VerifiedFile) -> Sequence[str]:
    return ("int8", "quantized") if file.model.input.dtype == "int8" else ()


def _model_index(file: VerifiedFile, *, mean: float, told: str) -> list[str]:
    name, env_id = f"{file.device.recipe} for {file.device.env_id}", file.device.env_id
    result: Mapping[str, object] = {
        "task": {"type": TASK, "name": TASK},
        "dataset": {"name": env_id, "type": env_id},
        "metrics": [{"type": "mean_reward", "value": round(mean, 4), "name": told}],
    }
    # JSON is YAML, too.
    return ["model-index:", f"- name: {json.dumps(name)}", f"  results: [{json.dumps(result)}]"]
