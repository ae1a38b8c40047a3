"""geoseg's own networks run by ONNX Runtime: graphs of one size of images (`graphs`, `edges`), kept in the user's cache
(`cache`), in the place of a network's body (`body`).

The libraries are the extra `geoseg[onnx]`.
"""
