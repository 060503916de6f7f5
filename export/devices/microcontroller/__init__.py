"""A microcontroller: `bundle` writes C and C++ sources, `plain_c` those of an int8 network that need no library."""
