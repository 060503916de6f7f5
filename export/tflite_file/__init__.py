"""A `.tflite` as bytes; without TensorFlow.

Read `reader` (what stands in it), `manifest` (ours, inside and beside it), then `rewriting` (other ends), `inspection` (what
it holds and where it runs), `integer_network` and `tflm` (TFLite Micro's arithmetic).
"""
