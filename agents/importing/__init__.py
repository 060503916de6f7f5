"""Agents from elsewhere, read as data: nothing of theirs is run. Read `agents` (a file becomes a `TrainedAgent`) with
`building`, then the formats: `keras_model/`; `torch_files` and `sb3` with `torch_tensors` and `layer_writer`; `onnx_model/`;
`vec_normalize` with `plain_pickle`. `foreign_files` bounds what is read, and `other_files` names what is not."""
