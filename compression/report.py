"""What the stages of a recipe report: typed here, JSON in `policy.json` and in the evidence beside a file."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from edgedqn.agents.errors import InputError
from edgedqn.agents.files import Json, JsonValue, read_json
from edgedqn.agents.playing.gate import Verdict

SCHEMA = 2  # of `policy.json`
UNPLAYABLE = 1e9  # finite, because reports are JSON
# Figures that are written as null where a stage has none; all others are left out.
WRITTEN_AS_NULL = {"cluster": "final_loss", "quantize_aware": "clusters_reached"}


@dataclass(frozen=True)
class NetworkSize(JsonValue):
    """Of a plain network: filters per convolution, widths of the hidden dense layers; its weights, where they are counted."""

    LEFT_OUT = ("weights",)

    filters: tuple[int, ...]
    hidden: tuple[int, ...]
    weights: int | None = None


@dataclass(frozen=True, kw_only=True)
class Judgement(JsonValue):
    """How a candidate played, on reset seeds that are for choosing and prove nothing.

    Attributes:
      mean_return: in reward units, over the episodes that were played; of acting at random, where no runtime takes the file.
      loss: the mean return lost to the float agent, paired by reset seed, in units of the gate's margin: up to about 1 is
        allowed. `UNPLAYABLE`, more than any other, where no runtime takes the file; its agreements are 0 and its tie rate 1.
      env_steps: in the episodes that were played, the float agent's not counted.
      action_agreement: the share of states of fresh episodes in which it acts as the float agent.
      gap_weighted_agreement: the same, each state weighted by the float agent's action gap.
      tie_rate: the share of them in which its largest output is not unique.
      reason: why the gate could not be asked; empty where it was.
      returns: of the episodes, in the order of the reset seeds, to compare two candidates; not written.
    """

    LEFT_OUT = ("returns",)

    verdict: Verdict
    mean_return: float
    loss: float
    episodes: int
    env_steps: int
    size_bytes: int
    action_agreement: float
    gap_weighted_agreement: float
    tie_rate: float
    reason: str = ""
    returns: tuple[float, ...] | None = None

    @property
    def agent_is_no_better_than_random(self) -> bool:
        """Whether judging more candidates is pointless, because the agent is no better than chance."""
        return self.verdict == "undecided" and bool(self.reason)


@dataclass(frozen=True, kw_only=True)
class Attempt(JsonValue):
    """How a candidate played as a file. JSON is one flat object.

    Attributes:
      size: where the stage looks for another one.
      rung: of the ladder, that made it.
      lacking: why it was not enough; empty where it was.
    """

    MERGED = ("size", "judgement")
    LEFT_OUT = ("rung", "lacking")

    size: NetworkSize | None = None
    judgement: Judgement
    rung: str | None = None
    lacking: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "judgement", replace(self.judgement, returns=None))  # thousands of numbers, in a report


@dataclass(frozen=True, kw_only=True)
class Findings(JsonValue):
    """What a stage did; a figure that it does not have is None, and left out. Lists of kernels are in the order of the layers.

    Attributes:
      scale, offset: of each feature or channel of the input; `lowest` and `highest` become the ends of its range.
      clipped_fraction: of the teacher's observations, the share of numbers beyond those ends.
      states: how many the student has been trained on by now.
      final_loss: the mean loss of the last 50 gradient steps.
      checkpoint: of reinforcement learning, the gradient step whose weights were the best, 0 at the start.
      agreement_per_round: how often the student acts as its teacher in the states of each round of its own play.
      held_out_agreement: by gap with its teacher, at each look, in states of episodes that nothing was taught on.
      allocation, structure: of pruning, as the recipe has them.
      sparsity_asked, sparsity_reached: of each kernel, in [0, 1].
      clusters_asked, clusters_reached: distinct values of a kernel; of convolutions after rounding, of the filter with most.
      keep_zeros, keep_clusters: what quantization-aware training kept.
      neurons_before, neurons_after: of all hidden layers, filters included; `neurons_removed` is their share, in [0, 1].
      passed: whether a candidate passed the gate.
      chosen: the index of the attempt that was returned.
      stopped: why a search, or a stream, ended.
      env_steps: played by its candidates.
      skipped: what was not done, and why.
      rung: of the ladder, that was returned.
    """

    MERGED = ("size",)

    scale: tuple[float, ...] | None = None
    offset: tuple[float, ...] | None = None
    lowest: tuple[float, ...] | None = None
    highest: tuple[float, ...] | None = None
    clipped_fraction: float | None = None
    states: int | None = None
    final_loss: float | None = None
    checkpoint: int | None = None
    agreement_per_round: tuple[float, ...] | None = None
    held_out_agreement: tuple[float, ...] | None = None
    allocation: str | tuple[float, ...] | None = None
    structure: str | tuple[int, ...] | None = None
    sparsity_asked: tuple[float, ...] | None = None
    sparsity_reached: tuple[float, ...] | None = None
    clusters_asked: int | None = None
    clusters_reached: tuple[int, ...] | None = None
    keep_zeros: bool | None = None
    keep_clusters: bool | None = None
    neurons_before: int | None = None
    neurons_after: int | None = None
    neurons_removed: float | None = None
    size: NetworkSize | None = None
    passed: bool | None = None
    chosen: int | None = None
    stopped: str | None = None
    env_steps: int | None = None
    skipped: tuple[str, ...] | None = None
    attempts: tuple[Attempt, ...] | None = None
    rung: str | None = None

    @property
    def judged(self) -> Judgement | None:
        """How what was returned played; None where no judge was asked."""
        return None if self.chosen is None or self.attempts is None else self.attempts[self.chosen].judgement


Findings.LEFT_OUT = tuple(Findings.keys())


@dataclass(frozen=True, kw_only=True)
class StageReport(JsonValue):
    """A stage of a recipe, and the student after it.

    Attributes:
      agreement: the share of on-policy states in which the student, as it is in Keras, acts as its teacher.
      mean_return: of the student, in reward units, over 20 episodes; of what was judged, as it was judged.
    """

    KEYS: ClassVar[Mapping[str, str]] = {"mean_return": "return"}
    MERGED = ("findings",)

    stage: str
    agreement: float
    mean_return: float
    seconds: float
    findings: Findings

    def to_json(self) -> Json:
        """One flat object."""
        written, null = super().to_json(), WRITTEN_AS_NULL.get(self.stage)
        return written if null is None or null in written else {**written, null: None}


@dataclass(frozen=True)
class CompressionRecord:
    """How a saved policy was made: what `policy.json` says, without the arrays beside it.

    Attributes:
      settings: JSON of the whole recipe; empty where it was made by none, or an earlier version wrote it.
      reports: one per stage.
    """

    settings: Json
    reports: tuple[StageReport, ...]

    @classmethod
    def from_json(cls, value: Json) -> "CompressionRecord":
        """Reads it from the object of `policy.json`."""
        return cls(value.get("settings", {}), tuple(map(StageReport.from_json, value["reports"])))

    @classmethod
    def read(cls, folder: Path) -> "CompressionRecord":
        """Reads what `CompressedPolicy.save` wrote. Raises InputError where it is missing, damaged, or of another schema."""
        path = folder / "policy.json"
        try:
            return cls.from_json(read_json(path, SCHEMA))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path} does not say how the policy was made: {error!r}") from error
