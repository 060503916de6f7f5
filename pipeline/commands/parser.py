"""The words of the command line: each command with its arguments. Imports nothing that takes time."""

import argparse
from pathlib import Path
from typing import Any, NoReturn

from edgedqn.pipeline.commands.options import (
    add_environment,
    add_exporting,
    add_force,
    add_named_environment,
    add_recipes,
    add_tolerance,
    add_training,
    natural,
    positive,
)
from edgedqn.pipeline.exit_codes import BAD_INPUT


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = _Parser(
        prog="edgedqn",
        description="Train a DQN agent, make it a small int8 .tflite, and prove on that file what it kept and what it gained.",
        epilog="Exit codes: 0 done, 1 a fault of EdgeDQN, 2 bad input, 3 done but no requested recipe passed its gate "
        "(bench --fail-on-regression: or something regressed).",
    )
    parser.add_argument("--version", action=_ShowVersion, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for add in (_add_run, _add_stages, _add_bench, _add_report, _add_bundle, _add_evaluate, _add_inspect, _add_play):
        add(commands)
    _add_import(commands)
    _command(commands, "doctor", "say what is installed and whether it works")
    return parser


def _add_run(commands: Any) -> None:
    run = _command(commands, "run", "the main job: train, compress, export, bench, report; goes on where it stopped")
    add_environment(run)
    add_recipes(run)
    add_exporting(run)
    add_tolerance(run)
    add_force(run)
    add_training(run)


def _add_stages(commands: Any) -> None:
    train = _command(commands, "train", "train the float agent of a run; goes on from its newest checkpoint")
    add_environment(train)
    add_force(train)
    add_training(train)

    compress = _command(commands, "compress", "compress the agent of a run by recipes")
    compress.add_argument("path", metavar="RUN", type=Path, nargs="?", help="a run folder")
    add_recipes(compress)
    add_tolerance(compress)
    compress.add_argument("--list", action="store_true", help="list the recipes that there are, and end")
    add_force(compress)

    export = _command(commands, "export", "write the .tflite files of a run")
    export.add_argument("path", metavar="RUN", type=Path, help="a run folder")
    add_recipes(export)
    add_exporting(export)
    add_force(export)


def _add_bench(commands: Any) -> None:
    bench = _command(commands, "bench", "time, weigh, play and compare .tflite files, or all files of a run")
    bench.add_argument(
        "paths",
        metavar="PATH",
        nargs="+",
        type=Path,
        help="a run folder, or .tflite files; one without a manifest is not played",
    )
    bench.add_argument(
        "--baseline", metavar="NAME", help="file stem the others are compared with (default: float32, else the first)"
    )
    bench.add_argument("--seed", type=natural, metavar="N", help="of reset seeds and timing order, for files (default: 0)")
    bench.add_argument("--threads", type=positive, metavar="N", help="of the interpreter, for files (default: 1)")
    bench.add_argument("--no-xnnpack", action="store_true", help="time files with TensorFlow Lite's own kernels")
    bench.add_argument(
        "--mlperf", action="store_true", help="time files by MLPerf Tiny's rules as well: five windows of ten seconds each"
    )
    add_named_environment(bench)
    add_tolerance(bench)
    bench.add_argument(
        "--merge",
        nargs="+",
        default=[],
        type=Path,
        metavar="FILE",
        help="show beside them what a bundle's bench_on_device.py wrote on a device",
    )
    bench.add_argument(
        "--against", type=Path, metavar="FILE", help="an earlier benchmark.json: name what is slower or worse now"
    )
    bench.add_argument("--fail-on-regression", action="store_true", help="end with exit code 3 where --against names anything")
    bench.add_argument("--no-play", action="store_true", help="time and weigh files only, without playing their environment")
    add_force(bench)


def _add_report(commands: Any) -> None:
    report = _command(commands, "report", "write report.html and report.md of a run")
    report.add_argument("path", metavar="RUN", type=Path, help="a run folder")
    add_force(report)


def _add_bundle(commands: Any) -> None:
    bundle = _command(commands, "bundle", "put together what devices need of a run's best file, or of any file")
    bundle.add_argument("path", metavar="PATH", type=Path, help="a run folder, or a .tflite with a manifest")
    bundle.add_argument(
        "--out", type=Path, metavar="DIR", help="the bundle to make of a .tflite, in place of an earlier one (default: device)"
    )


def _add_evaluate(commands: Any) -> None:
    evaluate = _command(commands, "evaluate", "play a policy and print its return")
    evaluate.add_argument(
        "path", metavar="PATH", type=Path, help="a .tflite, an agent folder, or a run folder (its float agent)"
    )
    add_named_environment(evaluate)
    evaluate.add_argument("--episodes", type=positive, default=100, metavar="N", help="how many (default: 100)")
    evaluate.add_argument("--seed", type=natural, default=0, metavar="S", help="reset seeds count up from S (default: 0)")


def _add_inspect(commands: Any) -> None:
    inspect = _command(commands, "inspect", "say what a .tflite holds and where it runs, without running it")
    inspect.add_argument("path", metavar="FILE", type=Path, help="a .tflite, with or without a manifest")


def _add_play(commands: Any) -> None:
    play = _command(commands, "play", "play a policy for people to watch: in a window, as a film, or in a browser")
    play.add_argument("path", metavar="PATH", type=Path, help="a .tflite, an agent folder, or a run folder (its float agent)")
    add_named_environment(play)
    play.add_argument("--episodes", type=positive, default=1, metavar="N", help="how many (default: 1)")
    play.add_argument("--seed", type=natural, default=0, metavar="S", help="reset seeds count up from S (default: 0)")
    play.add_argument("--gif", type=Path, metavar="FILE", help="make a film FILE.gif in place of a window")
    play.add_argument("--video", type=Path, metavar="FILE", help="make a film FILE.mp4 in place of a window")
    play.add_argument("--fps", type=positive, metavar="N", help="frames per second (default: what the environment names)")
    play.add_argument(
        "--browser",
        action="store_true",
        help="serve a page that runs the policy in a browser, until Ctrl-C; PATH is a .tflite with float input and output, or "
        "a bundle with browser/",
    )
    play.add_argument("--port", type=natural, metavar="N", help="of --browser (default: any free one)")


def _add_import(commands: Any) -> None:
    importing = _command(commands, "import", "make a run of a Keras model or a Stable-Baselines3 DQN, in place of its training")
    importing.add_argument("model", metavar="MODEL", type=Path, help="a .keras, an .h5 of a whole model, or an SB3 DQN .zip")
    importing.epilog = (
        "Not in any of these files, so it cannot be seen: an SB3 agent behind VecNormalize takes observations that are "
        "normalized first; wrap the environment alike and give it as module:Id. SB3's VecFrameStack begins an episode with "
        "frames of zeros where EdgeDQN repeats the first frame."
    )
    add_environment(importing)


def _command(commands: Any, name: str, summary: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=summary, description=f"{summary[0].upper()}{summary[1:]}."
    )
    command.add_argument("--json", action="store_true", help="print one JSON object on stdout and nothing else")
    return command


class _Parser(argparse.ArgumentParser):
    """Says in one line what is wrong, where argparse prints the usage first; an unknown option is told the known ones."""

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, f"edgedqn: {message}\n")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        parsed, unknown = super().parse_known_args(args, namespace)
        if unknown:
            known = sorted(option for option in self._option_string_actions if option.startswith("--"))
            self.error(f"unexpected argument {unknown[0]!r}: expected one of {', '.join(known)}")
        return parsed, unknown


class _ShowVersion(argparse.Action):
    """Looks the version up only when it is asked for: reading package metadata takes longer than all the rest of `--help`."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib import metadata

        print(f"edgedqn {metadata.version('edgedqn')}")
        parser.exit()
