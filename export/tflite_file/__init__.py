"""A `.tflite` as bytes; without TensorFlow.

`edge_policy.TfliteModel` parses it. Read `reader` (kernels, ends, names), `manifest` (ours, inside and beside it), then
`rewriting` (float ends, the action as output), `inspection` (what it holds and where it runs), `integer_network` and `tflm`
(TFLite Micro's arithmetic), `arena` (the memory it needs).
"""
