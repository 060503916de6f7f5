"""The bar of long work: that of a terminal, or in a notebook one made for it, which needs ipywidgets."""

import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

import tqdm as bars


def _is_notebook() -> bool:
    """Whether this process is a kernel of Jupyter."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and "IPKernelApp" in shell.config


if TYPE_CHECKING:
    from tqdm import tqdm as tqdm
elif _is_notebook() and find_spec("ipywidgets"):
    from tqdm.notebook import tqdm
else:
    tqdm = bars.tqdm  # which a command line may have replaced
