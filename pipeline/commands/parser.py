"""The words of the command line: each command with its arguments. Imports nothing that takes time."""

import argparse
import re
from typing import NoReturn

from edgedqn.agents.errors import hint
from edgedqn.pipeline.commands import BAD_INPUT
from edgedqn.pipeline.commands.device_arguments import BUNDLE, fit
from edgedqn.pipeline.commands.options import (
    COLLECTING,
    COUNT,
    DIR,
    EITHER,
    FILE,
    NATURAL,
    PATH,
    SEEDS,
    SEVERAL,
    SWITCH,
    WORKERS,
    Arguments,
    add_training,
    factors,
    number,
)

RUN: Arguments = {"path": PATH | {"metavar": "RUN", "help": "a run folder"}}
POLICY: Arguments = {
    "path": PATH | {"help": "a .tflite, a bundle's folder, an agent folder, or a run folder (its float agent)"}
}
FORCE: Arguments = {"--force": SWITCH | {"help": "do it again, even what is done"}}
LEARNING_ENVIRONMENT: Arguments = {
    "env_id": {"metavar": "ENV_ID", "help": "a gymnasium id such as CartPole-v1, or module:Id for your own"},
    "--seed": NATURAL | {"default": 0, "help": "of all randomness (default: 0)"},
    "--out": DIR | {"help": "the run folder (default: runs/ENV_ID-seedN)"},
    "--env-arg": SEVERAL
    | {
        "metavar": "KEY=VALUE",
        "help": "give the environment's constructor this, as JSON or else as text; more by repeating it",
    },
    "--wrapper": SEVERAL
    | {
        "metavar": "MODULE:CLASS[:KEY=VALUE ...]",
        "help": "put this gymnasium.Wrapper around the environment; more, in this order, by repeating it",
    },
    "--max-episode-steps": COUNT | {"help": "cut episodes off after N steps (default: the environment's own limit, or 27,000)"},
    "--reset-option": SEVERAL
    | {"metavar": "KEY=VALUE", "help": "give each reset this among its options; more by repeating it"},
    "--observe": {
        "nargs": "+",
        "default": [],
        "metavar": "KEY",
        "help": "what the policy sees of observations in a Dict or, by numbers from 0, a Tuple (default: all that are "
        "numbers), in the order of the space, a Dict's keys sorted, not in this one",
    },
    "--action-levels": COUNT
    | {"help": "of each dimension of continuous actions, ends included (default: 5, from four dimensions on 3)"},
    "--action-mask": EITHER | {"help": "tell the policy which actions are legal (default: where the environment does)"},
}
ENVIRONMENT_OF_A_FILE: Arguments = {
    "--env": {
        "metavar": "ENV_ID",
        "help": "where a .tflite plays (default: what its manifest names, if that is installed; a module:Id whose module lies "
        "in the current folder must be named here, and so must the environment of a file without a manifest)",
    }
}
SCALE: Arguments = {
    "--scale": {
        "type": factors,
        "metavar": "A,B,...",
        "help": "what the network of a file without a manifest saw in training: an observation's numbers, in the environment's "
        "units, times these, one for each feature (of pictures: each channel) or one for all, such as 0.2,1,5,1 or 1/255; "
        "`float` is 1, the numbers as they are. An integer input then takes them as its own quantization says, real = scale * "
        "(q - zero point), saturated (default: float; 1/255 where bytes, 0 to 255, go into an integer input that holds no more "
        "than half of them)",
    }
}
RESET_SEED: Arguments = {"--seed": NATURAL | {"default": 0, "metavar": "S", "help": "reset seeds count up from S (default: 0)"}}
RECIPES: Arguments = {
    "--recipes": {
        "nargs": "+",
        "metavar": "NAME",
        "help": "recipes that `edgedqn recipes` lists, or files NAME.toml with your own (default: qat-int8 "
        "prune-qat-int8 auto-int8; ptq-int8 is always shown beside them)",
    }
}
TOLERANCE: Arguments = {
    "--tolerance": {
        "type": number,
        "metavar": "X",
        "help": "what the gate allows to be lost, as a share of (float return - random return) (default: 0.02; 0.05 for "
        "MinAtar, Atari, FrozenLake and Taxi)",
    },
}
GATE: Arguments = TOLERANCE | {
    "--gate-episodes": COUNT
    | {
        "help": "episodes that the gate may see, 100 or more, where a simulator is slow; it looks after N/4, N/2 and N "
        "(default: after 300, 600 and 1,200; Atari: 100, 300, 600; MinAtar, FrozenLake, Taxi: 1,200, 4,800, 19,200)"
    },
}
EXPORTING: Arguments = {
    "--strip": EITHER | {"help": "leave names, descriptions and all else that no runtime reads out of the files (default: no)"},
    "--manifest": {
        "choices": ("embedded", "beside"),
        "help": "beside: the manifest is in NAME.json alone, without which the file is refused (default: embedded)",
    },
    "--float-io": EITHER
    | {"help": "int8 files take float observations and give float outputs; the scaling is inside them (default: no)"},
    "--output": {
        "choices": ("preferences", "q_values", "action"),
        "help": "what a file gives: preferences, or Q-values where the recipe keeps them, or the action (default: preferences)",
    },
    "--sparse": EITHER
    | {"help": "store kernels without their blocks of zeros; refused so far, because no runtime computes such safely"},
}
BENCH: Arguments = {
    "paths": PATH | {"nargs": "+", "help": "a run folder, or .tflite files; one without a manifest is played with --env"},
    "--baseline": {"metavar": "NAME", "help": "file stem the others are compared with (default: float32, else the first)"},
    "--seed": NATURAL | {"help": "of reset seeds and timing order, for files (default: 0)"},
    "--threads": COUNT | {"help": "of the interpreter, for files (default: 1)"},
    "--no-xnnpack": SWITCH | {"help": "time files with TensorFlow Lite's own kernels"},
    "--mlperf": SWITCH | {"help": "time files by MLPerf Tiny's rules as well: five windows of ten seconds each"},
    **ENVIRONMENT_OF_A_FILE,
    **SCALE,
    **TOLERANCE,
    "--merge": FILE
    | {"nargs": "+", "default": [], "help": "show beside them what a bundle's bench_on_device.py wrote on a device"},
    "--against": FILE | {"help": "an earlier benchmark.json: name what is slower or worse now"},
    "--fail-on-regression": SWITCH | {"help": "end with exit code 3 where --against names anything"},
    "--stress": SWITCH
    | {
        "help": "play 300 episodes each with noisy sensors (1 to 10 %% of a feature's standard deviation), late by a step, and "
        "stuck (in 5 to 20 %% of the steps), too: is the small policy more brittle?"
    },
    **fit("say which files fit a board's flash, RAM and cycles"),
    "--no-play": SWITCH | {"help": "time and weigh files only, without playing their environment"},
    **FORCE,
}
PLAY: Arguments = {
    **POLICY,
    **ENVIRONMENT_OF_A_FILE,
    "--episodes": COUNT | {"default": 1, "help": "how many (default: 1)"},
    **RESET_SEED,
    "--gif": FILE | {"help": "make a film FILE.gif in place of a window"},
    "--video": FILE | {"help": "make a film FILE.mp4 in place of a window"},
    "--fps": COUNT | {"help": "frames per second (default: what the environment names)"},
    "--browser": SWITCH
    | {
        "help": "serve a page that runs the policy in a browser, until Ctrl-C; PATH is a .tflite with float input and output, "
        "or a bundle with browser/",
    },
    "--port": NATURAL | {"help": "of --browser (default: any free one)"},
}
MODEL: Arguments = {
    "model": {
        "metavar": "MODEL",
        "help": "a .keras or .h5 of Keras 1 to 3, the .index of a TensorFlow checkpoint, an .onnx, a state dict of PyTorch "
        "(.pt, .pth, .cleanrl_model), the .zip of SB3's DQN or SB3-Contrib's QR-DQN; or module:function, any policy, called "
        "with an observation. What is no chain of Dense and Conv2D layers with ReLU plays, and teaches such a chain",
    },
    "--gives": {
        "choices": ("values", "probabilities", "action"),
        "help": "what the function gives: a number for each action, Q-values or logits (values), their probabilities, or the "
        "number of the action (default: values)",
    },
    "--activation": {"metavar": "NAME", "help": "of hidden layers, where the file holds weights alone (default: relu)"},
    "--part": {
        "metavar": "NAME",
        "help": "which network of a state dict or a checkpoint, or which output of an .onnx, where there are several",
    },
    "--strides": COUNT
    | {"nargs": "+", "help": "of each convolution of a state dict (default: those of Nature's and MinAtar's)"},
    "--hidden": COUNT | {"nargs": "+", "help": "widths of the hidden layers, where an .h5 or a checkpoint holds weights alone"},
    "--model-json": FILE | {"help": "in place of --hidden what Keras' model.to_json() gives"},
    "--normalize": FILE | {"help": "VecNormalize's vecnormalize.pkl, which is read and not run, or an .npz of its statistics"},
    **LEARNING_ENVIRONMENT,
    "--states": COUNT
    | {"default": 10_000, "help": "observations to gather while it plays; fewer where a simulator is slow (default: 10,000)"},
    "--gate-episodes": GATE["--gate-episodes"],
}
SWEEP: Arguments = {
    "path": FILE | {"metavar": "SWEEP", "help": "a file SWEEP.toml that says what is searched; docs/sweeps.md"},
    "--out": {"metavar": "DIR", "help": "where all of it goes, a folder or a URL that fsspec knows (default: runs/SWEEP)"},
    **WORKERS,
    "--engine": {"choices": ("local", "ray"), "default": "local", "help": "who does the work (default: local)"},
    "--address": {"metavar": "ADDRESS", "help": "of a Ray cluster that runs (default: the one of this machine)"},
    "--storage": {"metavar": "URL", "help": "of a database for Optuna's record (default: a journal file in the folder)"},
    "--best": {
        "choices": ("size", "return", "latency"),
        "help": "make the bundle of the smallest file that passed, the one that plays best, or the fastest",
    },
    "--env": {"metavar": "ENV_ID", "help": "whose best, where the sweep has several"},
    "--bundle": DIR | {"help": "where that bundle goes"},
    **fit("take only what fits a board"),
}

COMMANDS: dict[str, tuple[str, Arguments]] = {
    "run": (
        "the main job: train, compress, export, bench, report; goes on where it stopped",
        LEARNING_ENVIRONMENT
        | SEEDS
        | RECIPES
        | EXPORTING
        | GATE
        | fit("ship only what fits a board, and search for that")
        | FORCE,
    ),
    "train": ("train the float agent of a run; goes on from its newest checkpoint", LEARNING_ENVIRONMENT | COLLECTING | FORCE),
    "compress": (
        "say how fragile the agent of a run is, once, and compress it by recipes",
        {"path": RUN["path"] | {"nargs": "?"}}
        | RECIPES
        | GATE
        | {"--list": SWITCH | {"help": "list the recipes that there are, and end; `edgedqn recipes`"}}
        | FORCE,
    ),
    "export": ("write the .tflite files of a run", RUN | RECIPES | EXPORTING | FORCE),
    "bench": ("time, weigh, play and compare .tflite files, or all files of a run", BENCH),
    "report": ("write report.html and report.md of a run", RUN | FORCE),
    "bundle": ("put together what devices need of a run's best file, or of any file; or make a library of it", BUNDLE),
    "evaluate": (
        "play a policy and print its return",
        POLICY
        | ENVIRONMENT_OF_A_FILE
        | SCALE
        | {"--episodes": COUNT | {"default": 100, "help": "how many (default: 100)"}}
        | RESET_SEED,
    ),
    "inspect": (
        "say what a .tflite holds and where it runs, without running it",
        {"path": FILE | {"help": "a .tflite, with or without a manifest"}},
    ),
    "play": ("play a policy for people to watch: in a window, as a film, or in a browser", PLAY),
    "import": ("make a run of a model of Keras, PyTorch, ONNX or Stable-Baselines3, in place of a training", MODEL),
    "sweep": ("search trainings and recipes for the files worth having, as a file says; goes on where it stopped", SWEEP),
    "recipes": ("list the recipes that come with EdgeDQN", {}),
    "environments": ("list the environments that there are presets for, with their scores", {}),
    "doctor": ("say what is installed, whether it works, and what is missing for which job", {}),
}
IMPORT_EPILOG = (
    "Not in any of these files, so it cannot be seen: an SB3 agent behind VecNormalize takes observations that are "
    "normalized first, which --normalize does. SB3's VecFrameStack begins an episode with frames of zeros where EdgeDQN "
    "repeats the first frame."
)


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = _Parser(
        prog="edgedqn",
        description="Train a DQN agent, make it a small int8 .tflite, and prove on that file what it kept and what it gained.",
        epilog="Exit codes: 0 done, 1 a fault of EdgeDQN, 2 bad input, 3 done but no int8 file passed its gate "
        "(bench --fail-on-regression: or something regressed).",
    )
    parser.add_argument("--version", action=_ShowVersion, nargs=0, help="show the version and exit")
    parser.set_defaults(results=None)  # stdout
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (summary, arguments) in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        command.add_argument("--json", action="store_true", help="print one JSON object on stdout and nothing else")
        command.add_argument("--quiet", action="store_true", help="say nothing of progress on stderr")
        for argument, how in arguments.items():
            command.add_argument(argument, **how)  # type: ignore[arg-type]
        if name in ("run", "train"):
            add_training(command)
        if name == "import":
            command.epilog = IMPORT_EPILOG
    return parser


class _Parser(argparse.ArgumentParser):
    """Errors in one line, without the usage that argparse prints first, and with what was probably meant."""

    def error(self, message: str) -> NoReturn:
        if chosen := re.search(r"invalid choice: '(.*)' \(choose from (.*)\)$", message):
            message += "." + hint(chosen[1], re.findall(r"[\w-]+", chosen[2]))
        self.exit(BAD_INPUT, f"edgedqn: {message}\n")

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def]
        parsed, unknown = super().parse_known_args(args, namespace)
        if unknown:
            near = hint(unknown[0], (option for option in self._option_string_actions if option.startswith("--")))
            self.error(f"unexpected argument {unknown[0]!r}.{near} `{self.prog} --help` lists all.")
        return parsed, unknown


class _ShowVersion(argparse.Action):
    """Looks the version up only when it is asked for: reading package metadata takes longer than all the rest of `--help`."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib import metadata

        print(f"edgedqn {metadata.version('edgedqn')}")
        parser.exit()
