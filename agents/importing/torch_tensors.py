"""Tensors in a file of PyTorch, read as data: a pickled object in there is refused, never made."""

import importlib
import io
import pickletools
import zipfile
from collections.abc import Iterator
from itertools import count
from types import ModuleType
from typing import Any, TypeAlias

from edgedqn.agents.errors import InputError, one_line, require
from edgedqn.agents.importing.foreign_files import Array, open_archive, read_member, short

LEAST_TORCH = (2, 10)  # before, a crafted file got past weights_only: CVE-2025-32434 and CVE-2026-24747
ONNX_LINES = "model.eval(); torch.onnx.export(model, torch.zeros(1, ...), 'policy.onnx')"
ADVICE = (
    f"If it is the model, make an ONNX file of it: {ONNX_LINES};"
    " or save its tensors alone: torch.save(model.state_dict(), 'policy.pth')."
)
FROM_SCRIPT = "Load it where you trust it, and save them: torch.save(torch.jit.load('...').state_dict(), 'policy.pth')"
OF_SB3 = (
    "a policy as SB3's policy.save writes it: import the .zip of model.save, or save torch.save(policy.state_dict(), 'p.pth')"
)
LARGEST_PICKLE = 2**26  # bytes; a state dict of the Nature CNN takes 1,500
_DEEPEST = 4  # dicts within dicts
_MOST = 10_000  # tensors and dicts, each counted as often as it is reached

Tensors: TypeAlias = dict[str, Array]
Nested: TypeAlias = "dict[str, Array | Nested]"


def read_tensors(content: bytes, name: str) -> Nested:
    """The tensors by name in a file that `torch.save` wrote, in dicts as they were there, as float32; all else is left out.

    Args:
      content: of the file.
      name: what messages call the file.
    Raises:
      InputError: it is damaged, or has a pickled object, or a tensor that is no plain one of floating-point numbers.
    """
    archive = open_archive(content)  # PyTorch's formats before 1.6 are none
    members = archive.infolist()
    if not content.startswith(b"PK\x03\x04"):  # an archive behind something else, which PyTorch would read instead
        raise InputError(f"{name} does not begin as an archive: expected tensors as PyTorch 1.6 or newer saves them.")
    if any("/code/" in m.filename for m in members):
        raise InputError(f"{name} is a TorchScript module, which is a program: expected tensors. {FROM_SCRIPT}.")
    if any(m.compress_type != zipfile.ZIP_STORED for m in members) or sum(m.file_size for m in members) > len(content):
        raise InputError(f"{name} is packed: expected stored tensors.")
    for each in members:
        read_member(archive, each.filename)  # compares its checksum, which PyTorch does not
    torch = _import_torch()
    try:
        state = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
    except Exception as error:  # a pickled object, or damage: PyTorch has many exceptions for both
        reason = _pickled_object(archive) or one_line(error)[:200]
        raise InputError(f"{name} holds more than tensors, or is damaged: {reason}") from error
    require(isinstance(state, dict), f"expected {name} to hold a state dict. Got a {type(state).__name__}.")
    return _arrays(state, torch, depth=_DEEPEST, counter=count())


def _arrays(state: Any, torch: ModuleType, *, depth: int, counter: Iterator[int]) -> Nested:
    found: Nested = {}
    for name, value in state.items():
        require(next(counter) < _MOST, f"expected at most {_MOST:,} values. Got more.")
        if isinstance(value, torch.Tensor):
            require(isinstance(name, str), f"expected tensors by name. Got {short(name)}.")
            found[name] = _array(name, value, torch)
        elif isinstance(value, dict) and isinstance(name, str) and "optim" not in name:
            require(depth > 0, f"expected at most {_DEEPEST} dicts in each other. Got more.")
            found[name] = _arrays(value, torch, depth=depth - 1, counter=counter)
    return found


def _array(name: str, tensor: Any, torch: ModuleType) -> Array:
    counted = tensor.dtype == torch.int64 and tensor.ndim == 0  # the num_batches_tracked of a BatchNorm
    floating = tensor.dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64)
    plain = type(tensor) in (torch.Tensor, torch.nn.Parameter) and tensor.layout == torch.strided
    # A view may claim to be larger than what it lies on.
    if not (floating or counted) or not plain or not tensor.is_contiguous() or tensor.device.type != "cpu":
        raise InputError(
            f"expected {name[:80]!r} to be a plain tensor of floating-point numbers. Got {tensor.dtype}, {tensor.layout}."
        )
    return tensor.detach().to(torch.float32).numpy()


def _pickled_object(archive: zipfile.ZipFile) -> str | None:
    """What to do about the first object in an archive that is neither a tensor nor a plain value, if there is one."""
    name = next((m.filename for m in archive.infolist() if m.filename.endswith("data.pkl")), None)
    if name is None:
        return None
    texts: list[str] = []
    try:
        for opcode, argument, _ in pickletools.genops(read_member(archive, name, largest=LARGEST_PICKLE)):
            if isinstance(argument, str):
                texts.append(argument)
            if opcode.name == "GLOBAL":
                module, *rest = str(argument).split(" ")
            elif opcode.name == "STACK_GLOBAL" and len(texts) >= 2:
                module, *rest = texts[-2:]
            else:
                continue
            if module not in ("collections", "torch._utils", "torch"):
                if module.startswith(("gymnasium.spaces", "gym.spaces")):
                    return f"{OF_SB3}."
                found = short(".".join((module, *rest)))
                return f"an object of {found}, which only its own code can read. {ADVICE}"
    except Exception:  # damage; what PyTorch said of it is told
        return None
    return None


def _import_torch() -> ModuleType:
    try:
        torch = importlib.import_module("torch")
    except ImportError as error:
        raise InputError(f"this needs the extra `sb3`: pip install 'edgedqn[sb3]'. Got: {error}.") from error
    if tuple(int(number) for number in torch.__version__.split(".")[:2]) < LEAST_TORCH:
        raise InputError(f"expected PyTorch {'.'.join(map(str, LEAST_TORCH))} or later to read it. Got {torch.__version__}.")
    return torch
