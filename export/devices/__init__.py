"""What each kind of device needs beside a policy file: `board/` (Linux), `microcontroller/` (C, C++), `browser/` (a page), and,
where it is asked for, `npu` (what Arm's Vela compiles). `libraries/` makes libraries for Arduino and others of what
`microcontroller/` writes. `model_card` is what a bundle's README begins with.

A new kind is a folder here with a `bundle` that writes its files and its README. In `pipeline/bundle.py`, `_write_parts` calls
it and returns its `Part`, and `OURS` has its folder; `inspection._devices` says which files it runs; `pyproject.toml` lists
the package.
"""
