"""What a board has room for: `fitting` builds and runs the firmware of each policy file."""
