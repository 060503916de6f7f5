"""A model or weights that Keras wrote. Read `keras_files` (a file becomes layers and weights), `keras_config` (Keras' own words
for the layers, with `keras_1` for those of early versions), `keras_weights` (weights alone), and `hdf5_reader`."""
