"""Until 0.3, the old place of `run`."""

import pytest

import edgedqn


def test_the_old_import_works_and_names_the_new_one() -> None:
    with pytest.warns(DeprecationWarning, match=r"ends with EdgeDQN 0\.3: expected edgedqn\.run"):
        from edgedqn.pipeline.run import run
    assert run is edgedqn.run


def test_there_is_nothing_else() -> None:
    with pytest.raises(ImportError, match="nothing"):
        from edgedqn.pipeline.run import nothing  # noqa: F401
