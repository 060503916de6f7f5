"""Emulated cores of microcontrollers, and a big-endian one: builds C for them, runs it, and weighs a policy's C files.

Read `core` (what is known of each), `programs` (building and running), `stated` (what a policy says of its memory), `footprint`
(what it costs), `budget` (what a board gives) and `fit` (whether that is enough), `stepping` (a policy's steps on a core),
`trials` (what these are compared on), `playing` (whole episodes). `sources/` is what is built beside a program. It is
emulated by QEMU and simavr, without a network or a display:

    python -m edgedqn.benchmarks.cores device/microcontroller
"""
