"""What each kind of device needs beside a policy file: `board/` (Linux), `microcontroller/` (C, C++), `browser/` (a page).

A new kind is a folder here with a `bundle` that writes its files and its README, and a `Part` in `pipeline/bundle.py`.
"""
