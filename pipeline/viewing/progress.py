"""What a command line says while it works, on stderr: a line for each stage, and off a terminal one every half minute."""

import os
import re
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

import tqdm

if TYPE_CHECKING:
    Bar = tqdm.tqdm[object]
else:
    Bar = tqdm.tqdm  # takes no type when it runs
INTERVAL_S = 30
# What stages took of a run of CartPole-v1 that has no figures of its own yet; only their ratios count.
USUAL_SECONDS: dict[str, float] = {"train": 60, "fragility": 15, "bench": 60, "report": 5}
USUAL_SECONDS_OF_A_KIND: dict[str, float] = {"compress": 40, "export": 2}
CONTROLS_S = 0.3  # of a recipe that trains nothing
GREEN, RED, SOFT, PLAIN = "\033[32m", "\033[31m", "\033[2m", "\033[0m"
VERDICTS = re.compile(r"(?<=\s)(pass|failed|fail)(?=\s|$)")


class LineBar(Bar):
    """A bar where there is no terminal: a line every half minute, so none of what takes less."""

    def __init__(self, *arguments: object, **how: object):
        """Takes what tqdm does; `disable=None` does not switch it off."""
        if how.get("disable") is None:
            how["disable"] = False
        how |= {"mininterval": INTERVAL_S, "delay": INTERVAL_S, "leave": False, "ascii": True}
        super().__init__(*arguments, **how)  # type: ignore[arg-type]

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        """One line, and none when the bar ends."""
        if msg is None:
            shown = self.format_dict
            left = self.total and shown["rate"] and f", {_duration((self.total - self.n) / shown['rate'])} left"
            of = f" of {self.total:,}" if self.total else ""
            print(
                f"  {self.desc}: {self.n:,}{of} {self.unit.strip()}, {_duration(shown['elapsed'])}{left or ''}", file=sys.stderr
            )

    def close(self) -> None:
        """Leaves no trace."""
        if not self.disable:
            self.disable = True
            self._decr_instances(self)  # type: ignore[attr-defined]


class NoBar(Bar):
    """None at all."""

    def __init__(self, *arguments: object, **how: object):
        """Takes what tqdm does."""
        super().__init__(*arguments, **{**how, "disable": True})  # type: ignore[arg-type]


def is_quiet(asked: bool) -> bool:
    """Whether nothing is to be said of progress: `--quiet`, or tqdm's own TQDM_DISABLE."""
    return asked or os.environ.get("TQDM_DISABLE", "0") not in ("", "0")


def choose_bars(*, quiet: bool) -> None:
    """Makes the bars of a process that is the command line's own fit where they go; before what draws them is imported."""
    if is_quiet(quiet):
        tqdm.tqdm = NoBar  # type: ignore[assignment, misc]
    elif not sys.stderr.isatty():
        tqdm.tqdm = LineBar  # type: ignore[assignment, misc]


def has_colours(stream: TextIO) -> bool:
    """Whether a stream shows colours, and its reader wants any (https://no-color.org)."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and stream.isatty()


def in_colour(table: str, stream: TextIO) -> str:
    """A table with its verdicts in colour, where the stream has them."""
    if not has_colours(stream):
        return table
    return VERDICTS.sub(lambda found: f"{GREEN if found[1] == 'pass' else RED}{found[1]}{PLAIN}", table)


class StageLines:
    """Says of each stage that it is done, how long it took, and about how long the others will take."""

    def __init__(self, stream: TextIO | None = None):
        """`stream` is where; None says nothing."""
        self._stream = stream
        self._pending: list[str] = []
        self._took: dict[str, float] = {}
        self._started = time.monotonic()

    def begin(self, pending: Sequence[str], kept: Sequence[str]) -> None:
        """Takes the names of the stages to be done, in order, and of those that were done before."""
        self._pending = list(pending)
        if kept and self._stream is not None:
            print(f"Done before, and kept: {', '.join(kept)}.", file=self._stream)

    @contextmanager
    def stage(self, name: str) -> Iterator[list[str]]:
        """While a stage is done. What is put into the list is said with it: the first line beside its time, others below."""
        remarks: list[str] = []
        if self._stream is None:
            yield remarks
            return
        started, ended = time.monotonic(), threading.Event()
        if not self._stream.isatty():
            threading.Thread(target=self._wait, args=(name, started, ended), daemon=True).start()
        outcome = f"{self._painted(RED, 'failed')} after"
        try:
            yield remarks
            outcome = f"{self._painted(GREEN, 'done')} in"
        except KeyboardInterrupt:
            outcome = "stopped after"
            raise
        finally:
            ended.set()
            self._took[name] = time.monotonic() - started
            left = left_of(self._pending, self._took)
            times = f"; {_duration(time.monotonic() - self._started)} so far"
            times += f", about {_duration(left)} left" if left else ""
            beside, *below = "\n".join(remarks).splitlines() or [""]
            took = f"{outcome} {_duration(self._took[name])}{beside and f', {beside}'}"
            self._say(name, took if outcome == "stopped after" else took + self._painted(SOFT, times))
            for line in below:
                print(f"  {line}", file=self._stream, flush=True)

    def skipped(self, remarks: Sequence[str]) -> None:
        """Says at the end what could not be done beside the stages."""
        if remarks and self._stream is not None:
            print("Skipped:", *(f"  {remark}" for remark in remarks), sep="\n", file=self._stream)

    def _wait(self, name: str, started: float, ended: threading.Event) -> None:
        while not ended.wait(INTERVAL_S):
            left = left_of(self._pending, self._took, name)
            rest = f"; about {_duration(left)} left for the stages after it" if left else ""
            self._say(name, f"running for {_duration(time.monotonic() - started)}{rest}")

    def _say(self, name: str, text: str) -> None:
        total = len(self._pending)
        at = self._pending.index(name) + 1 if name in self._pending else total
        width = max(map(len, self._pending), default=0)
        print(f"[{at:>{len(str(total))}}/{total}] {name:<{width}}  {text}", file=self._stream, flush=True)

    def _painted(self, colour: str, text: str) -> str:
        assert self._stream is not None
        return f"{colour}{text}{PLAIN}" if has_colours(self._stream) else text


def left_of(pending: Sequence[str], took: Mapping[str, float], running: str = "") -> float | None:
    """About how many seconds the stages take that are neither done nor running, by how much those that are done took more or
    less than usual. None before there is one to judge by: a training says nothing of the others."""
    judged = {name: seconds for name, seconds in took.items() if name != "train" and _usual_seconds(name) > CONTROLS_S}
    others = [name for name in pending if name not in took and name != running]
    if not judged or not others:
        return None
    pace = sum(judged.values()) / sum(map(_usual_seconds, judged))
    return pace * sum(map(_usual_seconds, others))


def _usual_seconds(name: str) -> float:
    kind, _, recipe = name.partition("/")
    if kind == "compress" and recipe in ("float32", "ptq-int8", "dynamic", "float16", "threshold"):
        return CONTROLS_S
    return USUAL_SECONDS[kind] if kind in USUAL_SECONDS else USUAL_SECONDS_OF_A_KIND.get(kind, 0.0)


def _duration(seconds: float) -> str:
    """Such as 0.4 s, 12 s, 3 min 20 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
