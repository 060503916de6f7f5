"""Files that people have beside their agents, or in formats that cannot be read as data: what each is, and what helps."""

import re
from collections.abc import Sequence
from pathlib import Path

from edgedqn.agents.errors import InputError, one_line
from edgedqn.agents.importing.foreign_files import short
from edgedqn.agents.importing.torch_tensors import ADVICE

READABLE = "a .keras, an .h5, a checkpoint's .index, an .onnx, a PyTorch .pth or an SB3 .zip"
AS_FUNCTION = "a function that loads it, where you trust it, can be imported: edgedqn import module:function ENV_ID"
_ENDS = (".keras", ".h5", ".hdf5", ".onnx", ".pt", ".pth", ".cleanrl_model", ".zip")
_HEAD = 2**16  # bytes in which an object's class is named
_OLD_TORCH = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"  # PyTorch's magic number before 1.6, as a pickle holds it
_EXPERIENCE = "a replay buffer of Stable-Baselines3: what an agent has seen, and not the agent, whose file is another"
_OTHER_JOBS = (  # the first name that is found in a pickle says what it is
    (b"stable_baselines3.common.buffers", _EXPERIENCE),
    (b"vec_normalize", "the statistics of VecNormalize: name them beside the agent's file, --normalize vecnormalize.pkl"),
    (b"stable_baselines3.her", _EXPERIENCE),
)
_PROGRAMS = ((b"sklearn", "scikit-learn"), (b"tf_agents", "TF-Agents"), (b"ray.rllib", "RLlib"))
_PACKED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"7z\xbc\xaf": "7z",
    b"Rar!": "rar",
}


def refuse_other_jobs(path: Path) -> None:
    """Raises InputError for a folder, with what lies in it, and for what needs no second look, however large it is."""
    if path.is_dir() or path.name == "saved_model.pb":
        raise InputError(f"expected a file. Got {_folder(path)}.")
    if not path.is_file():
        return
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError as error:
        raise InputError(f"expected a file that can be read. Got {one_line(error)}.") from error
    found = _in_its_place(head) or _pickled(head)
    if found:
        raise InputError(f"expected {READABLE}. Got {found}.")


def what_it_is(content: bytes, name: str, members: Sequence[str]) -> str:
    """Names a file that is none of those which can be read. `members` are those of an archive."""
    if members:
        return _archive(set(members), name)
    head = content[:_HEAD]
    if _OLD_TORCH in head[:64]:
        if b"torch.nn.modules" in head:
            return f"a whole module as PyTorch before 1.6 saved it, which is a program. {ADVICE[:-1]}"
        return (
            "tensors or an object as PyTorch before 1.6 saved them. Save them again with a newer one: "
            f"torch.save(torch.load({name!r}, weights_only=True), 'policy.pth')"
        )
    if re.search(r"\.data-\d{5}-of-\d{5}$", name) or content.startswith(b"model_checkpoint_path:"):
        return "a part of a TensorFlow checkpoint: import its .index, which names the others"
    if content[:1] == b"\x80" or (head[:1] in (b"(", b"c") and content.endswith(b".")):
        kind = next((f" of {library}" for text, library in _PROGRAMS if text in head), "")
        return f"a pickle{kind}, which is a program{f'. {ADVICE[:-1]}' if b'torch' in head else f': {AS_FUNCTION}'}"
    if content[4:8] == b"TFL3":
        return f"a .tflite, which has no layers to train: edgedqn bench {name} --env ENV_ID plays and measures it"
    if content[8:9] == b"{" and int.from_bytes(content[:8], "little") <= len(content) - 8:
        return (
            "a .safetensors, of tensors alone. Save them as PyTorch does: "
            f"torch.save(safetensors.torch.load_file({name!r}), 'policy.pth')"
        )
    if b"\x81" <= content[:1] <= b"\x8f" and b"kernel" in head:
        return f"weights of Flax, without their layers: {AS_FUNCTION}"
    if content.startswith(b"\x93NUMPY"):
        return f"an array of NumPy. If it is a table of Q-values: {AS_FUNCTION}"
    packing = next((packing for magic, packing in _PACKED.items() if content.startswith(magic)), "")
    if packing or content[257:262] == b"ustar":
        return f"a packed file ({packing or 'tar'}): unpack it, and import the agent's file in it"
    return _text(head, name)


def _in_its_place(head: bytes) -> str | None:
    """What a download or a checkout left where the file should be."""
    if not head:
        return "an empty file: the copy or the download of it broke off"
    start = head.lstrip()[:200].lower()
    if start.startswith((b"<!doctype html", b"<html", b"<?xml")):
        return (
            "a web page, not the file that it is about. Download that itself: on Hugging Face its link has /resolve/ in place "
            "of /blob/, on GitHub /raw/"
        )
    if head.startswith(b"version https://git-lfs"):
        size = re.search(rb"\nsize (\d{1,15})", head)
        what = f"a file of {int(size[1]):,} bytes" if size else "the file"
        return f"a pointer of Git LFS, which stands for {what}: git lfs pull fetches that"
    return None


def _pickled(head: bytes) -> str | None:
    """What was saved beside an agent."""
    if head[:1] not in (b"\x80", b"(", b"c"):
        return None
    return next((what for text, what in _OTHER_JOBS if text in head), None)


def _text(head: bytes, name: str) -> str:
    """Names what may be a text."""
    if head.startswith((b"{", b"[")):
        if b'"modelTopology"' in head:
            convert = f"tensorflowjs_converter --input_format tfjs_layers_model --output_format keras {name} policy.h5"
            return f"the layers of a TensorFlow.js model: {convert}"
        if b'"policy_class"' in head:
            return "the settings of a Stable-Baselines3 archive, without its tensors: import the .zip that they are of"
        if b'"class_name"' in head:
            return (
                "a JSON text of Keras, layers without their weights: name it beside those, "
                f"edgedqn import WEIGHTS.h5 ENV_ID --model-json {name}"
            )
        return "a JSON text, in which no network is"
    try:
        start = head[:60].decode()
    except UnicodeDecodeError:
        return "something else"
    return (
        f"a text that begins {short(start)}"
        if all(each.isprintable() or each.isspace() for each in start)
        else "something else"
    )


def _archive(members: set[str], name: str) -> str:
    if {"parameters", "parameter_list"} <= members:
        return f"an archive of Stable-Baselines 2, of TensorFlow 1: {AS_FUNCTION}"
    if "data" in members:
        return "an archive of Stable-Baselines3 without a policy.pth"
    if any(member.endswith("saved_model.pb") for member in members):
        return "a packed SavedModel, which is a program"
    if any(member.endswith("serialized_exported_program.json") or "/archive_format" in member for member in members):
        return (
            "a program of torch.export. Save its tensors alone: "
            f"torch.save(torch.export.load({name!r}).state_dict, 'policy.pth')"
        )
    if "mean.npy" in members:
        return "statistics of observations: name them beside the agent's file, --normalize vecnormalize.npz"
    if all(member.endswith(".npy") for member in members):
        return (
            "arrays of NumPy, without their layers. Save them as PyTorch names them: "
            "torch.save({'0.weight': torch.from_numpy(...), '0.bias': ...}, 'policy.pth')"
        )
    models = sorted(member for member in members if member.endswith(_ENDS))
    if models:
        return f"an archive around {short(', '.join(models))}: unpack it, and import the agent's file in it"
    return f"an archive of something else: {', '.join(sorted(members))[:80]}"


def _folder(path: Path) -> str:
    if path.name == "saved_model.pb" or (path / "saved_model.pb").is_file():
        folder = path.parent if path.name == "saved_model.pb" else path
        return (
            "a SavedModel, which is a program. Load it where you trust it, and save its layers: "
            f"tf_keras.models.load_model({folder.name!r}).save('policy.keras')"
        )
    names = sorted(each.name for each in path.iterdir())
    if {"data", "policy.pth"} <= set(names):
        pack = f"shutil.make_archive('agent', 'zip', {path.name!r})"
        return f"a folder with what is in an archive of Stable-Baselines3. Import that, or pack it again: {pack}"
    models = [name for name in names if name.endswith(_ENDS)]
    if models:
        return f"a folder: import the agent's file in it, {' or '.join(models)[:200]}"
    return f"a folder without a file of an agent: {short(', '.join(names))}" if names else "an empty folder"
