"""Networks and model files. Importing this package loads neither PyTorch nor any network."""
