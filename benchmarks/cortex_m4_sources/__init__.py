"""What is built beside a program for the emulated Cortex-M4: start-up, output, the memory map, and the measurement."""
