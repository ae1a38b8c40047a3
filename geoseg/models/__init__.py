"""Networks and the model file. Importing this package loads neither PyTorch nor any network."""
