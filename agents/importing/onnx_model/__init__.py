"""An ONNX model, translated to layers. Read `files` (a file becomes plain values), `constants` (what can be computed before
anything is observed), `graph` (the nodes one after the other), then `operators` with `values`, and `tidying` at the end."""
