"""ONNX files: what they say of themselves (`reading`, `sources`), the model they are (`described`), how they are run
(`network`, `runtime`).

The libraries are an extra, `geoseg[onnx]`: onnx reads the files, ONNX Runtime runs them.
"""
