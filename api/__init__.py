"""EdgeDQN: train a Keras DQN agent, make it a small int8 `.tflite`, and prove on that file what it kept and what it gained."""

from pathlib import Path

_checkout = Path(__file__).parent.parent
if (_checkout / "pyproject.toml").is_file():  # an editable install: the sub-packages lie beside this folder
    __path__.append(str(_checkout))
