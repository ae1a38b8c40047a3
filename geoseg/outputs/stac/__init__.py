"""A finished prediction as a STAC Item: where and when, its files, classes, the model and the scene.

In: a `Prediction` (`item`). Out: the Item as a dict for `json.dump`, after STAC 1.1.0 with the extensions projection
2.0, file 2.1, classification 2.0, processing 1.1, and, where the model is a file, MLM (machine-learning model) 1.4 and
EO (electro-optical) 1.1.
"""
