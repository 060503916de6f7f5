"""EdgeDQN: train a Keras DQN agent, make it a small int8 `.tflite`, and prove on that file what it kept and what it gained.

    import edgedqn

    result = edgedqn.run("CartPole-v1", out="runs/demo", seed=0)
    policy = edgedqn.EdgePolicy.load(result.folder / "device" / "policy.tflite")
    action = policy(observation)

The names in `__all__` are the public ones. Each is imported when it is first asked for: `import edgedqn` alone loads neither
NumPy nor TensorFlow.
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgedqn.agents.errors import InputError
    from edgedqn.agents.playing.gate import Gate
    from edgedqn.agents.trained_agent import TrainedAgent
    from edgedqn.agents.training.config import QLearningConfig, TrainingConfig
    from edgedqn.benchmarks.latency.interleaved import LatencyConfig
    from edgedqn.benchmarks.rows import Benchmark
    from edgedqn.compression.policy import CompressedPolicy
    from edgedqn.compression.recipe import Recipe
    from edgedqn.compression.recipes import RECIPES
    from edgedqn.export.config import ExportConfig
    from edgedqn.export.edge_policy import EdgePolicy, PolicyFileError
    from edgedqn.pipeline.bench_files import bench
    from edgedqn.pipeline.bundle import write_bundle as make_bundle
    from edgedqn.pipeline.config import RunConfig
    from edgedqn.pipeline.job import RunResult
    from edgedqn.pipeline.scripting import compress, export_tflite, run, train

    __version__: str

__all__ = [
    "RECIPES",
    "Benchmark",
    "CompressedPolicy",
    "EdgePolicy",
    "ExportConfig",
    "Gate",
    "InputError",
    "LatencyConfig",
    "PolicyFileError",
    "QLearningConfig",
    "Recipe",
    "RunConfig",
    "RunResult",
    "TrainedAgent",
    "TrainingConfig",
    "__version__",
    "bench",
    "compress",
    "export_tflite",
    "make_bundle",
    "run",
    "train",
]

_PLACES = {
    "Benchmark": "benchmarks.rows",
    "CompressedPolicy": "compression.policy",
    "EdgePolicy": "export.edge_policy",
    "ExportConfig": "export.config",
    "Gate": "agents.playing.gate",
    "InputError": "agents.errors",
    "LatencyConfig": "benchmarks.latency.interleaved",
    "PolicyFileError": "export.edge_policy",
    "QLearningConfig": "agents.training.config",
    "RECIPES": "compression.recipes",
    "Recipe": "compression.recipe",
    "RunConfig": "pipeline.config",
    "RunResult": "pipeline.job",
    "TrainedAgent": "agents.trained_agent",
    "TrainingConfig": "agents.training.config",
    "bench": "pipeline.bench_files",
    "compress": "pipeline.scripting",
    "export_tflite": "pipeline.scripting",
    "make_bundle": "pipeline.bundle:write_bundle",
    "run": "pipeline.scripting",
    "train": "pipeline.scripting",
}

_checkout = Path(__file__).parent.parent
if (_checkout / "pyproject.toml").is_file():  # an editable install: the sub-packages lie beside this folder
    __path__.append(str(_checkout))


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("edgedqn")
    if name not in _PLACES:
        raise AttributeError(f"module 'edgedqn' has no attribute {name!r}: expected one of {', '.join(__all__)}.")
    module, _, attribute = _PLACES[name].partition(":")
    try:
        value = getattr(import_module(f"edgedqn.{module}"), attribute or name)
    except ModuleNotFoundError as error:
        raise ImportError(f"edgedqn.{name} needs the extra `train`: pip install 'edgedqn[train]'. Got: {error}.") from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
