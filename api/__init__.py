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
    from edgedqn.agents.errors import InputError as InputError
    from edgedqn.agents.importing.agents import ModelOptions as ModelOptions
    from edgedqn.agents.playing.gate import Gate as Gate
    from edgedqn.agents.playing.source import EnvironmentSource as EnvironmentSource
    from edgedqn.agents.playing.source import WrapperSource as WrapperSource
    from edgedqn.agents.trained_agent import TrainedAgent as TrainedAgent
    from edgedqn.agents.training.config import QLearningConfig as QLearningConfig
    from edgedqn.agents.training.config import TrainingConfig as TrainingConfig
    from edgedqn.benchmarks.cores.budget import Budget as Budget
    from edgedqn.benchmarks.cores.budget import find_budget as find_budget
    from edgedqn.benchmarks.foreign import ForeignFile as ForeignFile
    from edgedqn.benchmarks.latency.interleaved import LatencyConfig as LatencyConfig
    from edgedqn.benchmarks.rows import Benchmark as Benchmark
    from edgedqn.compression.policy import CompressedPolicy as CompressedPolicy
    from edgedqn.compression.recipe import Recipe as Recipe
    from edgedqn.compression.recipes import RECIPES as RECIPES
    from edgedqn.export.config import ExportConfig as ExportConfig
    from edgedqn.export.devices.libraries.bundle import make_library as make_library
    from edgedqn.export.devices.libraries.library import LibraryDetails as LibraryDetails
    from edgedqn.export.devices.npu import NpuTarget as NpuTarget
    from edgedqn.export.edge_policy import EdgePolicy as EdgePolicy
    from edgedqn.export.edge_policy import PolicyFileError as PolicyFileError
    from edgedqn.pipeline.bench_files import bench as bench
    from edgedqn.pipeline.bundle import make_bundle as make_bundle
    from edgedqn.pipeline.collection.config import CollectionConfig as CollectionConfig
    from edgedqn.pipeline.config import RunConfig as RunConfig
    from edgedqn.pipeline.devices.fitting import measure_fit as measure_fit
    from edgedqn.pipeline.job import RunResult as RunResult
    from edgedqn.pipeline.scripting import compress as compress
    from edgedqn.pipeline.scripting import export_tflite as export_tflite
    from edgedqn.pipeline.scripting import import_agent as import_agent
    from edgedqn.pipeline.scripting import run as run
    from edgedqn.pipeline.scripting import sweep as sweep
    from edgedqn.pipeline.scripting import train as train
    from edgedqn.pipeline.sweeps.results import SweepResult as SweepResult

    __version__: str

_NAMES = {
    "agents.errors": ("InputError",),
    "agents.importing.agents": ("ModelOptions",),
    "agents.playing.gate": ("Gate",),
    "agents.playing.source": ("EnvironmentSource", "WrapperSource"),
    "agents.trained_agent": ("TrainedAgent",),
    "agents.training.config": ("QLearningConfig", "TrainingConfig"),
    "benchmarks.cores.budget": ("Budget", "find_budget"),
    "benchmarks.foreign": ("ForeignFile",),
    "benchmarks.latency.interleaved": ("LatencyConfig",),
    "benchmarks.rows": ("Benchmark",),
    "compression.policy": ("CompressedPolicy",),
    "compression.recipe": ("Recipe",),
    "compression.recipes": ("RECIPES",),
    "export.config": ("ExportConfig",),
    "export.devices.libraries.bundle": ("make_library",),
    "export.devices.libraries.library": ("LibraryDetails",),
    "export.devices.npu": ("NpuTarget",),
    "export.edge_policy": ("EdgePolicy", "PolicyFileError"),
    "pipeline.bench_files": ("bench",),
    "pipeline.bundle": ("make_bundle",),
    "pipeline.collection.config": ("CollectionConfig",),
    "pipeline.config": ("RunConfig",),
    "pipeline.devices.fitting": ("measure_fit",),
    "pipeline.job": ("RunResult",),
    "pipeline.scripting": ("compress", "export_tflite", "import_agent", "run", "sweep", "train"),
    "pipeline.sweeps.results": ("SweepResult",),
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names}
__all__ = sorted(["__version__", *_MODULES], key=lambda name: (not name.isupper(), name))  # constants first

_checkout = Path(__file__).parent.parent
if (_checkout / "pyproject.toml").is_file():  # an editable install: the sub-packages lie beside this folder
    __path__.append(str(_checkout))


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("edgedqn")
    if name not in _MODULES:
        raise AttributeError(f"module 'edgedqn' has no attribute {name!r}: expected one of {', '.join(__all__)}.")
    from edgedqn.benchmarks.native_output import quiet

    try:
        with quiet():  # many a name loads TensorFlow
            value = getattr(import_module(f"edgedqn.{_MODULES[name]}"), name)
    except ModuleNotFoundError as error:
        extra = "sweep" if error.name in ("fsspec", "optuna") else "train"
        raise ImportError(f"edgedqn.{name} needs the extra `{extra}`: pip install 'edgedqn[{extra}]'. Got: {error}.") from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
