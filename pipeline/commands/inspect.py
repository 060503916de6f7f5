"""`inspect`: a file that nothing has proven is looked into by a child process, within limits. Needs no TensorFlow."""

import json
import subprocess
from argparse import Namespace
from pathlib import Path

from edgedqn.agents.files import Json
from edgedqn.agents.playing.processes import python_command
from edgedqn.benchmarks.foreign import refuse_other_kind
from edgedqn.export.edge_policy import DeviceManifest, PolicyFileError
from edgedqn.export.tflite_file import inspection
from edgedqn.pipeline.commands import BAD_INPUT, DONE, print_json
from edgedqn.pipeline.native import limit_memory

SECONDS = 20

CHILD = "import sys; from edgedqn.pipeline.commands.inspect import child; sys.exit(child(sys.argv[1]))"


def inspect(arguments: Namespace) -> int:
    """Prints what a file holds."""
    report = inspect_safely(arguments.path)
    if arguments.json:
        print_json(arguments, report)
    else:
        print(render(report))
    return DONE


def inspect_safely(path: Path, seconds: float = SECONDS) -> Json:
    """What `export.tflite_file.inspection.inspect` says of a file, found in another process.

    Args:
      path: a `.tflite`.
      seconds: after which the process is ended.
    Raises:
      InputError: it is no `.tflite` by its name, but of another kind that people have.
      PolicyFileError: the file is refused, or looking into it takes too long or too much memory.
    """
    refuse_other_kind(path)
    command = python_command(CHILD, str(path))
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired as error:
        raise PolicyFileError(f"{path}: expected an answer within {seconds:g} seconds. Got none, so it is refused.") from error
    if answer.returncode == BAD_INPUT:
        raise PolicyFileError(answer.stdout.strip())
    if answer.returncode != 0:
        said = answer.stderr.strip().splitlines()[-1:] or ["nothing"]
        raise PolicyFileError(f"{path}: expected a file that can be read. Reading it ended with {answer.returncode}: {said[0]}")
    report: Json = json.loads(answer.stdout)
    return report


def child(path: str) -> int:
    """Prints the report as JSON, or why the file is refused; runs in the process that `inspect_safely` starts."""
    limit_memory()
    try:
        print(json.dumps(inspection.inspect(Path(path))))
    except PolicyFileError as error:
        print(error)
        return BAD_INPUT
    return DONE


def render(report: Json) -> str:
    """The report as lines for a person."""
    arena = f"not measured. {report['arena_unmeasured']}"
    if report["arena_bytes"] is not None:
        arena = f"{report['arena_bytes']:,} bytes, where pointers have 64 bits."
    lines = [
        f"{report['file']}: {report['size_bytes']:,} bytes, SHA-256 {report['sha256']}",
        "",
        "Operators: " + ", ".join(f"{count} {name}" for name, count in report["operator_counts"].items()),
        f"Multiply-accumulates: {report['multiply_accumulates']:,} a step. Live at once: {report['live_bytes']:,} bytes.",
        f"Arena of TensorFlow Lite Micro: {arena}",
        "",
        "Tensors:",
    ]
    for index, tensor in enumerate(report["tensors"]):
        role = "".join(f" ({side})" for side, key in (("input", "inputs"), ("output", "outputs")) if index in report[key])
        shape = "x".join(map(str, tensor["shape"])) or "scalar"
        lines.append(
            f"  {index:>3} {tensor['name'] or '-':<14} {tensor['dtype']:<8} {shape:<12} {tensor['stored_bytes']:>9,} bytes"
            f"{_quantized(tensor['quantization'])}{role}"
        )
    lines += ["", f"Kernels:{'' if report['kernels'] else ' ' + (report['kernels_unread'] or 'none')}"]
    for kernel in report["kernels"]:
        shape = "x".join(map(str, kernel["shape"]))
        lines.append(
            f"  {kernel['name'] or '-':<14} {kernel['dtype']:<8} {shape:<12} {kernel['zero_fraction']:>6.1%} zeros, "
            f"{kernel['distinct_values']:,} distinct values"
        )
    lines += ["", "Devices:"]
    for kind, verdict in report["devices"].items():
        lines.append(f"  {kind.replace('_', ' '):<15} {'yes' if verdict['runs'] else 'no: ' + ' '.join(verdict['reasons'])}")
    manifest = report["manifest"]
    if manifest is None:
        none = f"none, so nothing proves this file whole. `edgedqn bench {report['file']} --env ENV_ID` plays it"
        return "\n".join([*lines, "", f"Manifest: {none}"])
    if features := DeviceManifest.from_json(manifest).features:
        lines += ["", f"Observation: put these in one vector, in this order: {', '.join(map(str, features))}."]
    return "\n".join([*lines, "", "Manifest:", *(f"  {line}" for line in json.dumps(manifest, indent=2).splitlines())])


def _quantized(quantization: Json | None) -> str:
    if quantization is None:
        return ""
    if quantization["scales"] > 1:
        return f"  {quantization['scales']} scales, one per output"
    (scale,), zero_point = quantization["scale"], quantization["zero_point"][:1] or [0]
    return f"  scale {scale if scale is None else f'{scale:.6g}'}, zero point {zero_point[0]}"
