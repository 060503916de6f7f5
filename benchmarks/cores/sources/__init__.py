"""What is built beside a program: `port.h` with a file for each family, the memory map, simavr's host, and the programs
`measure.c` and `stepping.c`."""
