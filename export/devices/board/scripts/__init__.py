"""Scripts that are copied into a device bundle, beside `edge_policy.py`. Nothing of ours imports them."""
