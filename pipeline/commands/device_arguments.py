"""The arguments that are about devices: what a bundle or a library is made of, and which board files are to fit."""

from edgedqn.pipeline.commands.options import DIR, PATH, SWITCH, Arguments, number

BUNDLE: Arguments = {
    "path": PATH | {"help": "a run folder, or a .tflite with a manifest"},
    "--out": DIR
    | {
        "help": "the bundle to make of a .tflite, in place of an earlier one (default: device); with --as the folder that the "
        "library is put into (default: libraries/ECOSYSTEM)"
    },
    "--sensor-units": {
        "nargs": "+",
        "type": number,
        "metavar": "U",
        "help": "for microcontrollers without floating point: what one count of a sensor stands for, such as 0.001, for each "
        "feature or one for all; policy_observe() takes these integers then",
    },
    "--as": {
        "dest": "ecosystem",
        "choices": ("arduino", "platformio", "esp-idf", "zephyr", "cmake"),
        "help": "make a library for these microcontrollers in place of a bundle",
    },
    "--zip": SWITCH | {"help": "and a zip of the bundle beside it, or of the library"},
    "--library-version": {"metavar": "X.Y.Z", "help": "of the library (default: 0.1.0)"},
    "--license": {"metavar": "SPDX_ID", "help": "of the library, such as MIT (default: none is stated)"},
    "--author": {"metavar": "NAME", "help": "of the library, or 'NAME <ADDRESS>' (default: none is named)"},
    "--url": {"metavar": "URL", "help": "a page on the library (default: none is named)"},
    "--npu": {
        "metavar": "ACCELERATOR",
        "help": "compile it for an Arm Ethos-U as well, with Vela, such as ethos-u55-128; needs the extra `npu`",
    },
    "--memory-mode": {
        "metavar": "NAME",
        "help": "where the NPU's weights and tensors lie, such as Sram_Only (default: Vela's)",
    },
    "--system-config": {
        "metavar": "NAME",
        "help": "clock and memories of the NPU, as Vela's --system-config, such as Ethos_U55_Deep_Embedded (default: Vela's)",
    },
}


def fit(purpose: str) -> Arguments:
    """`--fit` and `--rate`, and what a command does with them."""
    return {
        "--fit": {
            "metavar": "BOARD",
            "help": f"{purpose}: uno, mega, nano33, pico, esp32c3, or FLASH,RAM,CYCLES (bytes, bytes, cycles per step; "
            "CORE:FLASH,RAM,CYCLES on another core than cortex-m0)",
        },
        "--rate": {"type": number, "metavar": "HZ", "help": "steps per second that the board of --fit has to reach"},
    }
