"""Agents from elsewhere, read as data: nothing of theirs is run. Read `agents` (a file becomes a `TrainedAgent`), then the
formats: `keras_files` with `keras_config` and `hdf5_reader`, and `sb3`. `foreign_files` bounds what is read."""
