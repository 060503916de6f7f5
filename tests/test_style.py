"""How the code reads, as far as a syntax tree shows it: sizes, calls that say what they pass, values in place of dicts."""

import ast
import dataclasses
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from edgedqn.benchmarks.rows import BenchmarkRow, Latency, Ratio
from edgedqn.compression.report import Findings, Judgement
from edgedqn.export.edge_policy import DeviceManifest

ROOT = Path(__file__).parent.parent
ROOMS = ("api", "agents", "compression", "export", "benchmarks", "pipeline")
pytestmark = pytest.mark.skipif(not (ROOT / "agents").exists(), reason="looks at the checkout, not at the package")

LONGEST_MODULE, LONGEST_FUNCTION = 300, 60  # lines
MOST_PARAMETERS, MOST_BY_POSITION_IN_CALLS = 8, 4
MOST_ANY = 20
ONE_FILE_BY_CONTRACT = "export/edge_policy.py"  # a board copies it alone

# Borders to what has no types, or types of its own: libraries, and other people's files. `Any` and string keys are theirs.
BORDERS = (
    "agents/importing/keras_model/keras_",  # Keras' configuration, as its files hold it
    "agents/importing/keras_model/hdf5_reader.py",
    "agents/importing/sb3.py",  # an archive of Stable-Baselines3
    "agents/importing/torch_tensors.py",  # PyTorch
    "agents/importing/onnx_model/files.py",  # protocol buffers
    "agents/importing/plain_pickle.py",  # a pickle's values
    "agents/importing/vec_normalize.py",
    "benchmarks/peers/",  # the others' APIs
    "compression/tfmot/fake_quantization.py",  # TF-MOT and Keras
    "compression/tfmot/wrappers.py",
    "export/devices/browser/litert_js.py",  # npm's package.json
    "export/tflite_file/rewriting.py",  # flatbuffers' generated classes
)
# Where JSON, NPZ or TOML becomes a value and a value becomes JSON.
CONVERSIONS = re.compile(r"(\w+_)?(from|to|read|write)_(json|arrays|toml)|state|restore|resume|load|save")
# Functions of others that take as many as there are.
VARIADIC = {"print", "pack", "pack_into", "max", "min", "zip", "chain", "join", "joinpath", "array", "add_row"}


@cache
def trees() -> dict[str, ast.Module]:
    paths = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
    return {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text()) for path in paths}


def functions() -> Iterator[tuple[str, ast.FunctionDef]]:
    for path, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                yield path, node


def at_borders(path: str) -> bool:
    return path.startswith(BORDERS)


# JSON and CSV that is neither a row nor a manifest, though some of its keys are called the same.
OTHER_JSON = (
    "agents/importing/building.py",  # layers as `architecture` describes them
    "agents/importing/onnx_model/arithmetic.py",
    "agents/importing/onnx_model/tidying.py",
    "agents/teaching/graph.py",
    "benchmarks/report/learning_curve.py",  # training.csv and the statistics in agent.json
    "pipeline/commands/inspect.py",  # what `inspect` found in another process
    "pipeline/sweeps/jobs.py",  # the statistics in agent.json
    "pipeline/sweeps/space.py",  # what a sweep file says
    "pipeline/sweeps/sweep_file.py",
    "pipeline/run_folder.py",  # the configuration of a run, compared with an earlier one
)
# gymnasium's and Keras' methods, whose signatures are theirs.
THEIR_METHODS = {"reset", "step", "build", "call"}


def outside_conversions(path: str) -> Iterator[ast.AST]:
    """The nodes of a module that no function turning a value from or into JSON holds."""
    pending: list[ast.AST] = [trees()[path]]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.FunctionDef) and (CONVERSIONS.fullmatch(node.name.lstrip("_")) or node.name in THEIR_METHODS):
            continue
        yield node
        pending.extend(ast.iter_child_nodes(node))


def annotations(path: str) -> Iterator[ast.expr]:
    for node in outside_conversions(path):
        if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation is not None:
            yield node.annotation
        elif isinstance(node, ast.FunctionDef) and node.returns is not None:
            yield node.returns


def test_no_module_is_longer_than_a_reader_takes_in() -> None:
    lines = {path: len((ROOT / path).read_text().splitlines()) for path in trees()}
    assert {path: n for path, n in lines.items() if n > LONGEST_MODULE and path != ONE_FILE_BY_CONTRACT} == {}


def test_no_function_is_longer_than_a_screen() -> None:
    assert [
        f"{path}:{node.lineno} {node.name}"
        for path, node in functions()
        if (node.end_lineno or node.lineno) - node.lineno >= LONGEST_FUNCTION
    ] == []


def test_public_functions_take_few_parameters() -> None:
    found = []
    for path, node in functions():
        taken = [
            each
            for each in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
            if each.arg not in ("self", "cls") and not each.arg.startswith("_")  # not for callers
        ]
        if len(taken) > MOST_PARAMETERS and (not node.name.startswith("_") or node.name == "__init__"):
            found.append(f"{path}:{node.lineno} {node.name}")
    assert found == []


def test_calls_say_what_they_pass() -> None:
    found = []
    for path, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and len(node.args) > MOST_BY_POSITION_IN_CALLS:
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                if name not in VARIADIC:
                    found.append(f"{path}:{node.lineno} {name}")
    assert found == []


def test_any_stands_for_what_is_not_ours() -> None:
    """`NDArray[Any]` and `Env[Any, Any]` are NumPy's and gymnasium's way to say: of whatever the environment gives."""
    theirs = re.compile(r"(NDArray|np\.dtype|Env|Space|VectorEnv|tqdm)\[(Any, )*Any\]")
    found = [
        f"{path}:{each.lineno} {ast.unparse(each)}"
        for path in trees()
        if not at_borders(path)
        for each in annotations(path)
        if re.search(r"\bAny\b", theirs.sub("", ast.unparse(each)))
    ]
    assert len(found) <= MOST_ANY, found


def test_values_have_fields_in_place_of_keys() -> None:
    """A row, a manifest, a report and a judgement are read by their fields; their JSON keys stand where they are converted."""
    values = (BenchmarkRow, Latency, Ratio, DeviceManifest, Findings, Judgement)
    keys = {each.name for value in values for each in dataclasses.fields(value)} | {"return", "ci95", "environment", "evidence"}
    keys -= {"name", "file", "source", "mean", "env_id"}  # other objects have these, too
    found = [
        f"{path}:{node.lineno} {ast.unparse(node)}"
        for path in trees()
        if not at_borders(path) and path not in OTHER_JSON
        for node in outside_conversions(path)
        if isinstance(node, ast.Subscript)
        and isinstance(node.ctx, ast.Load)
        and isinstance(node.slice, ast.Constant)
        and node.slice.value in keys
    ]
    assert found == []
