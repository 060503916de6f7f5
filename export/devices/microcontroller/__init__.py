"""A microcontroller: `bundle` writes C and C++ sources, `preprocessing` those of what comes before the network, `fixed_point`
the numbers to round it without floating point, `plain_c` those of an int8 network that need no library."""
