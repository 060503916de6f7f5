"""What we take from the TensorFlow Model Optimization Toolkit, which is imported nowhere else.

Read in this order: `wrappers`, for pruning and clustering; `fake_quantization`, for networks that round as their file will.
"""
