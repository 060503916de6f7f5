"""A Linux board: `bundle` writes its part of a device bundle; `scripts/` are the files it copies."""
