"""What `benchmark.json` holds, as values: a row for each policy file, the machine, and what devices measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

from edgedqn.agents.errors import InputError
from edgedqn.agents.files import Json, JsonValue, read_json
from edgedqn.agents.playing.gate import GatePower
from edgedqn.agents.playing.statistics import Bounded, Interval
from edgedqn.benchmarks.cores.fit import FitTest
from edgedqn.benchmarks.machine import Machine

SCHEMA = 1


@dataclass(frozen=True)
class Histogram(JsonValue):
    """How many calls took how long: bins of one width, what took longer than `to_us` in the last."""

    from_us: float
    to_us: float
    counts: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Latency(JsonValue):
    """What `n` calls took, in µs, net of the timer.

    Attributes:
      timer_us: the median cost of the pair of clock readings round a call, already taken off.
      full_speed: the share of the rounds at full speed, see `full_speed.py`; None of a device, and of earlier versions.
      histogram: likewise.
    """

    LEFT_OUT = ("full_speed", "histogram")

    p50: float
    p90: float
    p99: float
    mean: float
    n: int
    timer_us: float
    full_speed: float | None = None
    histogram: Histogram | None = None


@dataclass(frozen=True)
class WindowedLatency(JsonValue):
    """By MLPerf Tiny's rules: the mean time of a call in each window, in µs, and the median of those."""

    windows_us: tuple[float, ...]
    median_us: float


@dataclass(frozen=True)
class Ratio(Bounded):
    """How many times as fast as the baseline, and the 95 % interval; above 1 is faster."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Return(Interval):
    """The mean return of so many episodes and its 95 % interval, in reward units."""

    episodes: int


@dataclass(frozen=True)
class Delegation(JsonValue):
    """How many operators a file has, and how many of them XNNPACK takes over."""

    operators: int
    xnnpack: int


@dataclass(frozen=True)
class OutputRange(JsonValue):
    """What a file's outputs span, and the median gap between its best two actions, in the file's own unit."""

    low: float
    high: float
    median_gap: float


class Timed(NamedTuple):
    """What one kind of call took, and its ratio to the baseline."""

    latency: Latency | None
    ratio: Ratio | None


@dataclass(frozen=True, kw_only=True)
class BenchmarkRow(JsonValue):
    """What was measured of one policy file; None where nothing was. The fields are those of `benchmark.json`.

    Attributes:
      name: the file's stem.
      file: its path, relative to the run folder.
      status: "ok" or "failed", with a `reason`.
      gzip_bytes: the file at gzip's level 9, what zeros save on the way to a device.
      stripped_bytes: the file without names and whatever else no runtime reads, its manifest beside it.
      weights: entries of all kernels, each stored one counted once; no biases.
      nonzero_weights: of those, the ones that are not 0; int8 kernels are symmetric, so 0 is their zero point.
      distinct_values: of all kernels, the most values that one of them is made of.
      multiply_accumulates: of one step.
      arena_bytes: TFLite Micro's working memory; None where TFLite Micro is missing, or does not run the file.
      return_delta: mean of the paired differences to the baseline; where another policy taught that one, to this policy.
      gate: "pass", "fail" or "undecided"; None of the baseline, unless it was taught and has to pass as well.
      input_dtype: "int8" of an int8 file, else "float32".
      better_than: files that passed, too, and have as many bytes, but a lower return: the 95 % interval of the paired
        difference lies above 0.
      gate_looks: after how many episodes the gate looked, where that is not the usual.
      gate_power: what such a gate can tell.
    """

    KEYS: ClassVar[Mapping[str, str]] = {"episode_return": "return"}
    LEFT_OUT: ClassVar[tuple[str, ...]] = ("gate_looks", "gate_power")

    name: str
    file: str
    sha256: str | None = None
    recipe: str | None = None
    target: str | None = None
    status: str = "ok"
    reason: str | None = None
    size_bytes: int | None = None
    gzip_bytes: int | None = None
    stripped_bytes: int | None = None
    weights: int | None = None
    nonzero_weights: int | None = None
    distinct_values: int | None = None
    multiply_accumulates: int | None = None
    arena_bytes: int | None = None
    resident_bytes: int | None = None
    delegation: Delegation | None = None
    latency_us: Latency | None = None
    step_latency_us: Latency | None = None
    twin_step_latency_us: Latency | None = None
    cold_start_us: Latency | None = None
    mlperf_latency_us: WindowedLatency | None = None
    speedup: Ratio | None = None
    step_speedup: Ratio | None = None
    twin_step_speedup: Ratio | None = None
    episode_return: Return | None = None
    return_delta: Interval | None = None
    action_agreement: float | None = None
    gap_weighted_agreement: float | None = None
    tie_rate: float | None = None
    output_range: OutputRange | None = None
    gate: str | None = None
    input_dtype: str | None = None
    better_than: tuple[str, ...] | None = None
    gate_looks: tuple[int, ...] | None = None
    gate_power: GatePower | None = None

    @property
    def timed(self) -> dict[str, Timed]:
        """What is compared with the baseline, by what a person calls it."""
        return {
            "invoke": Timed(self.latency_us, self.speedup),
            "step": Timed(self.step_latency_us, self.step_speedup),
            "step of the twin": Timed(self.twin_step_latency_us, self.twin_step_speedup),
        }


@dataclass(frozen=True, kw_only=True)
class DeviceRow(JsonValue):
    """What a device measured of one file.

    Attributes:
      name: of the row of the same policy; a twin with float ends, which is no file of the benchmark, has its policy's.
    """

    name: str
    file: str
    sha256: str
    recipe: str
    size_bytes: int
    latency_us: Latency
    step_latency_us: Latency


@dataclass(frozen=True)
class Device(JsonValue):
    """What a bundle's `bench_on_device.py` measured on another machine, which it describes in words of its own."""

    machine: Mapping[str, str | None]
    rows: tuple[DeviceRow, ...]

    @property
    def name(self) -> str:
        """What its measurements go by."""
        machine = self.machine
        return f"{machine.get('cpu') or 'an unknown machine'} ({machine.get('architecture') or 'unknown architecture'})"


@dataclass(frozen=True, kw_only=True)
class Stressed(JsonValue):
    """How a file plays under a stress, in reward units.

    Attributes:
      loss: the return lost to itself undisturbed, paired by reset seed, with its 95 % interval.
      excess: how much more it loses than the baseline does, likewise; None of the baseline.
    """

    name: str
    mean_return: float
    loss: Interval
    excess: Interval | None


@dataclass(frozen=True)
class Stress(JsonValue):
    """Something that goes wrong on a device, and how each file takes it."""

    what: str
    files: tuple[Stressed, ...]


@dataclass(frozen=True, kw_only=True)
class StressTest(JsonValue):
    """What `bench --stress` found; `note` says in words what goes wrong."""

    episodes: int  # of each file, under each stress
    note: str
    stresses: tuple[Stress, ...]


@dataclass(frozen=True)
class Benchmark(JsonValue):
    """The object of `benchmark.json`.

    Attributes:
      machine: where the rows were measured.
      baseline: the name of the float row, with which the others are compared.
      rows: one for each file.
      devices: what was merged in.
      stress: what `--stress` asked for.
      fits: what `--fit` asked for, one for each board.
    """

    LEFT_OUT = ("devices", "stress", "fits")

    machine: Machine
    baseline: str
    rows: tuple[BenchmarkRow, ...]
    devices: tuple[Device, ...] = ()
    stress: StressTest | None = None
    fits: tuple[FitTest, ...] = ()

    def row(self, name: str) -> BenchmarkRow | None:
        """The row of this name, if there is one."""
        return next((row for row in self.rows if row.name == name), None)

    def to_json(self) -> Json:
        """With its schema."""
        return {"schema": SCHEMA, **super().to_json()}


def read_benchmark(path: Path) -> Benchmark:
    """A `benchmark.json`. What an earlier version did not measure is None.

    Raises:
      InputError: it is none.
    """
    value = read_json(path, SCHEMA)
    try:
        return Benchmark.from_json(value)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is no benchmark.json: expected what `edgedqn bench` writes. Got: no {error}.") from error


def model_of(rows: Sequence[BenchmarkRow], baseline: str) -> tuple[str, float | None]:
    """What files are compared with, the baseline or the policy that taught it, and its mean return, None where unplayed."""
    base = next(row for row in rows if row.name == baseline)
    played, delta = base.episode_return, base.return_delta
    mean = None if played is None or delta is None else played.mean - delta.mean
    return baseline if base.gate is None else f"the policy that taught {baseline}", mean


def best_passing(rows: Sequence[BenchmarkRow], fits: Sequence[FitTest] = ()) -> BenchmarkRow | None:
    """The smallest int8 file that passed its gate, and fits the board where that is a limit; None where none did.

    Of equally large ones it is one that no other is better than, then the one that packs smaller, then the first by name: never
    the luck of a timing.
    """
    passed = [row for row in rows if row.gate == "pass" and row.input_dtype != "float32"]
    passed = [row for row in passed if all(fit.allows(row.name) for fit in fits)]
    worse = {name for row in passed for name in row.better_than or ()}

    def order(row: BenchmarkRow) -> tuple[int, bool, int, str]:
        assert row.size_bytes is not None and row.gzip_bytes is not None  # or it was not played
        return row.size_bytes, row.name in worse, row.gzip_bytes, row.name

    return min(passed, key=order, default=None)
