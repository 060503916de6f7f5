"""Files that people have beside their agents, or in formats that cannot be read as data: what each is, and what helps."""

from collections.abc import Sequence

from edgedqn.agents.importing.torch_tensors import ADVICE

_HEAD = 2**16  # bytes in which an object's class is named
_OLD_TORCH = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"  # PyTorch's magic number before 1.6, as a pickle holds it
_PICKLED = (  # the first name that is found in a pickle says what it is
    (b"stable_baselines3.common.buffers", "a replay buffer of Stable-Baselines3: what an agent has seen, and not the agent"),
    (b"vec_normalize", "the statistics of VecNormalize: name them beside the agent's file, normalize='vecnormalize.pkl'"),
    (b"stable_baselines3.her", "a replay buffer of Stable-Baselines3: what an agent has seen, and not the agent"),
    (b"sklearn", "a pickle of scikit-learn, which is a program: wrap its predict in a function"),
    (b"tf_agents", "a pickle of TF-Agents, which is a program"),
)


def what_it_is(content: bytes, members: Sequence[str]) -> str:
    """Names a file that is none of those which can be read. `members` are those of an archive."""
    if members:
        return _archive(set(members))
    head = content[:_HEAD]
    if _OLD_TORCH in head[:64]:
        return (
            "tensors or an object as PyTorch before 1.6 saved them. Save them again with a newer one: "
            "torch.save(torch.load(path, weights_only=True), path)"
        )
    if content[:1] == b"\x80" or (head[:1] in (b"(", b"c") and content.endswith(b".")):
        for name, what in _PICKLED:
            if name in head:
                return what
        return f"a pickle, which is a program. {ADVICE[:-1]}"
    if content[4:8] == b"TFL3":
        return "a .tflite, which has no layers to train: it can be played and measured, bench"
    if content.startswith(b"{"):
        return "a JSON text: layers without their weights"
    return "something else"


def _archive(members: set[str]) -> str:
    if {"parameters", "parameter_list"} <= members:
        return "an archive of Stable-Baselines 2, of TensorFlow 1"
    if "data" in members:
        return "an archive of Stable-Baselines3 without a policy.pth"
    if any(name.endswith("saved_model.pb") for name in members):
        return "a packed SavedModel, which is a program"
    if "mean.npy" in members:
        return "statistics of observations: name them beside the agent's file, normalize='vecnormalize.npz'"
    return f"an archive of something else: {', '.join(sorted(members))[:80]}"
