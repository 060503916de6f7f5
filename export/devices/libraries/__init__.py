"""A policy as the library that an ecosystem of microcontrollers expects. Read `library` first: its name, its version, and the
sources that all forms share; then `example`, `forms`, one function per ecosystem, and `bundle`, which writes them.
"""
