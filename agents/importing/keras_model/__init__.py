"""A model or weights that Keras wrote. Read `keras_files` (a file becomes layers and weights), `keras_config` (Keras' own words
for a model) with `keras_layers`, `keras_calls`, `keras_arithmetic` and `keras_1`; then weights alone, `keras_weights` and
`tf_checkpoints` with `tf_reader`; and `hdf5_reader` with `other_process`."""
