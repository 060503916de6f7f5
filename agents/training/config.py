"""Every number that decides a training, with its meaning and its range."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from math import inf
from typing import Any, Literal, get_args, get_origin, get_type_hints

from edgedqn.agents.errors import InputError, make_plain

NETWORKS = ("auto", "mlp", "minatar", "nips", "nature")
LEAST_IMAGE = {"minatar": 3, "nips": 20, "nature": 36}  # pixels: less would leave nothing behind the convolutions


def _value(default: object, meaning: str, *, least: float = -inf, most: float = inf, above: float = -inf) -> Any:
    """A setting: its default, what it means (the help of the command line), and the range it must lie in."""
    return field(default=default, metadata={"help": meaning, "least": least, "most": most, "above": above})


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """All that decides the training of a deep Q-network besides the environment and the seed."""

    steps: int = _value(100_000, "environment steps", least=1)
    network: str = _value(
        "auto",
        "what looks at the observation: mlp (as a vector, straight on), minatar, nips or nature (the CNNs of 2019, 2013 and "
        "2015), module:function (your own), or auto: nature for images from 36x36, minatar for those from 3x3, else mlp",
    )
    hidden: tuple[int, ...] = _value((256, 256), "widths of the hidden layers behind it", least=1)
    dueling: bool = _value(False, "separate streams for the state's value and the advantages; the last hidden layer is doubled")
    quantiles: int = _value(0, "quantiles of each action's return to learn (QR-DQN); 0 learns the mean", least=0)
    frame_stack: int = _value(1, "observations the network sees at once", least=1)
    double: bool = _value(True, "Double DQN: the online network chooses the action that the target network values")
    n_step: int = _value(3, "environment steps that a transition spans", least=1)
    prioritized: bool = _value(False, "prioritized replay: what surprised comes back more often")
    priority_exponent: float = _value(0.6, "how much priorities matter; 0 is uniform", least=0, most=1)
    importance_exponent: float = _value(0.4, "how much of their bias is corrected at the start; 1 at the end", least=0, most=1)
    loss: Literal["huber", "mse"] = _value("huber", "of the temporal-difference error; quantiles have the quantile Huber loss")
    learning_rate: float = _value(6.3e-4, "of Adam", above=0, most=10)
    learning_rate_decay: float = _value(
        0.0, "the part of the learning rate that is gone, linearly, at the end", least=0, most=1
    )
    adam_epsilon: float = _value(1e-7, "of Adam", above=0, most=1)
    max_gradient_norm: float = _value(10.0, "the global norm gradients are clipped to", above=0)
    batch_size: int = _value(128, "transitions per gradient step", least=1)
    buffer_size: int = _value(50_000, "transitions in the replay", least=1)
    learning_starts: int = _value(1_000, "environment steps before the first gradient step", least=0)
    train_freq: int = _value(16, "environment steps between updates", least=1)
    gradient_steps: int = _value(16, "gradient steps per update", least=1)
    discount: float = _value(0.99, "of the return, per step", least=0, most=1)
    target_update_interval: int = _value(250, "environment steps between copies to the target network", least=1)
    target_update_rate: float = _value(
        1.0, "below 1, the target network instead moves this share of the way at each gradient step", above=0, most=1
    )
    exploration_fraction: float = _value(0.12, "the part of the training over which epsilon falls from 1", above=0, most=1)
    exploration_final: float = _value(0.1, "epsilon from then on", least=0, most=1)
    exploration_duration: int = _value(1, "steps that a random action lasts, once it has begun", least=1)
    averaging_steps: int = _value(
        5_000, "about how many environment steps the running average of the weights looks back; 0 averages nothing", least=0
    )
    overlap: bool = _value(
        False,
        "learn on a second core while the next train_freq steps are played, by the weights before; for slow simulators and "
        "large networks",
    )
    num_envs: int = _value(1, "environments played side by side", least=1)
    evaluation_interval: int = _value(5_000, "environment steps between evaluations of the greedy policy", least=1)
    evaluation_episodes: int = _value(10, "episodes per evaluation, on seeds of their own", least=1)
    finalists: int = _value(4, "best checkpoints that are played again at the end, ten times as long, to choose one", least=1)
    checkpoint_interval: int = _value(
        25_000, "environment steps between checkpoints to resume from; episodes restart there. 0 makes none", least=0
    )
    keep_checkpoints: int = _value(2, "of the last checkpoints, each with the whole replay, while it trains", least=1)

    def __post_init__(self) -> None:
        _check(self)
        if self.network not in NETWORKS and ":" not in self.network:
            raise InputError(f"Expected network to be one of {', '.join(NETWORKS)}, or module:function. Got {self.network!r}.")
        if self.steps // self.train_freq * self.train_freq <= self.learning_starts:
            raise InputError(
                "Nothing would be learned: expected a multiple of train_freq above learning_starts and within steps. "
                f"Got train_freq={self.train_freq}, learning_starts={self.learning_starts} and steps={self.steps}."
            )
        if self.buffer_size < (least := self.num_envs * (self.n_step + self.frame_stack)):
            raise InputError(
                "Frames would be gone before they are used: expected buffer_size of num_envs x (n_step + frame_stack) = "
                f"{least} or more. Got {self.buffer_size}."
            )
        if self.dueling and not self.hidden:
            raise InputError("A dueling head splits the last hidden layer. Expected at least one width. Got hidden=().")
        if self.quantiles and self.loss == "mse":
            raise InputError("Quantiles are learned with the quantile Huber loss: expected loss='huber'. Got loss='mse'.")

    def flattens(self, shape: tuple[int, ...]) -> bool:
        """Whether observations of a Box of this shape are made a vector of: by the `mlp`, and where no CNN can look at them."""
        too_small = len(shape) > 1 and min(shape[:2]) < LEAST_IMAGE["minatar"]
        return self.network == "mlp" or (self.network == "auto" and (len(shape) > 3 or too_small))

    def network_for(self, input_shape: tuple[int, ...]) -> str:
        """What `network` comes to, `auto` resolved. Raises InputError where it cannot look at observations of this shape."""
        network = self.network
        if network == "auto":
            is_large = min(input_shape[:2]) >= LEAST_IMAGE["nature"]
            network = "mlp" if len(input_shape) == 1 else "nature" if is_large else "minatar"
        least = LEAST_IMAGE.get(network)
        if least is not None and (len(input_shape) != 3 or min(input_shape[:2]) < least):
            raise InputError(f"The {network} network looks at images from {least}x{least}. Got observations of {input_shape}.")
        return network


@dataclass(frozen=True, kw_only=True)
class QLearningConfig:
    """All that decides the training of a Q-table besides the environment and the seed."""

    steps: int = _value(500_000, "environment steps", least=1)
    learning_rate: float = _value(0.5, "the share of the error that is corrected, at first", above=0, most=1)
    learning_rate_final: float = _value(0.001, "the same at the end; it falls linearly", above=0, most=1)
    discount: float = _value(0.99, "of the return, per step", least=0, most=1)
    initial_value: float = _value(
        0.0, "of every state and action; above what can be had, it makes the agent try everything", least=-1e30, most=1e30
    )
    exploration_fraction: float = _value(0.5, "the part of the training over which epsilon falls from 1", above=0, most=1)
    exploration_final: float = _value(0.05, "epsilon from then on", least=0, most=1)
    evaluation_interval: int = _value(50_000, "environment steps between evaluations of the greedy policy", least=1)
    evaluation_episodes: int = _value(100, "episodes per evaluation, on seeds of their own", least=1)
    finalists: int = _value(4, "best checkpoints that are played again at the end, ten times as long, to choose one", least=1)
    checkpoint_interval: int = _value(
        100_000, "environment steps between checkpoints to resume from; episodes restart there. 0 makes none", least=0
    )
    keep_checkpoints: int = _value(2, "of the last checkpoints, each with the whole replay, while it trains", least=1)

    def __post_init__(self) -> None:
        _check(self)
        if self.learning_rate_final > self.learning_rate:
            raise InputError(
                "A table settles when its learning rate falls. Expected learning_rate_final of at most learning_rate. "
                f"Got {self.learning_rate_final} and {self.learning_rate}."
            )


Config = TrainingConfig | QLearningConfig
Settings = Mapping[str, Any]  # values of a configuration, by name
ALGORITHMS: dict[str, type[Config]] = {"dqn": TrainingConfig, "q-learning": QLearningConfig}


def with_settings(config: Config, settings: Settings, *, env_id: str) -> Config:
    """`config` with other values, by name. Raises InputError where it has no such setting, or a value is out of its range."""
    known = {setting.name for setting in fields(config)}
    for name in settings:
        if name not in known:
            algorithm = next(name for name, cls in ALGORITHMS.items() if isinstance(config, cls))
            raise InputError(f"{env_id} is learned by {algorithm}. Expected one of {', '.join(sorted(known))}. Got {name}.")
    return replace(config, **settings)


def config_from_json(value: Settings) -> Config:
    """Reads the values that `dataclasses.asdict` wrote of either configuration, and "algorithm", one of `ALGORITHMS`."""
    settings: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in value.items()}
    # 0.1 wrote no algorithm: there, a setting that only one of them has tells which it was.
    algorithm = settings.pop("algorithm", "q-learning" if "initial_value" in value else "dqn")
    return ALGORITHMS[algorithm](**settings)


def _check(config: "Config") -> None:
    """Every setting has its type and lies in its range; NaN lies in none."""
    make_plain(config)
    hints = get_type_hints(type(config))
    for setting in fields(config):
        name, value, hint = setting.name, getattr(config, setting.name), hints[setting.name]
        if get_origin(hint) is Literal:
            if value not in get_args(hint):
                raise InputError(f"Expected {name} to be one of {', '.join(get_args(hint))}. Got {name}={value!r}.")
            continue
        several = get_origin(hint) is tuple
        kind = get_args(hint)[0] if several else hint
        numbers = value if isinstance(value, tuple) else (value,)
        if isinstance(value, tuple) != several or not all(map(_KINDS[kind][1], numbers)):
            expected = "a tuple of whole numbers" if several else _KINDS[kind][0]
            raise InputError(f"Expected {name} to be {expected}. Got {name}={value!r}.")
        least, most, above = (setting.metadata[limit] for limit in ("least", "most", "above"))
        if kind in (int, float) and not all(least <= n <= most and n > above and abs(n) < inf for n in numbers):
            expected = f"above {above}" if above > -inf else f"of {least} or more" if least > -inf else "to be finite"
            expected += f", up to {most}" if most < inf else ""
            raise InputError(f"Expected {name} {expected}. Got {name}={value}.")


_KINDS: dict[type, tuple[str, Callable[[object], bool]]] = {
    int: ("a whole number", lambda value: isinstance(value, int) and not isinstance(value, bool)),
    float: ("a number", lambda value: isinstance(value, int | float) and not isinstance(value, bool)),
    bool: ("True or False", lambda value: isinstance(value, bool)),
    str: ("text", lambda value: isinstance(value, str)),
}
