import importlib

import geoseg


def test_all_is_exactly_the_public_api():
    assert sorted(geoseg.__all__) == geoseg.__all__ == [
        "ClassSpec", "Comparison", "DataSpec", "EvaluateResult", "ExportResult", "GeosegError", "ImportResult",
        "InitResult", "LabelError", "LeaveOutResult", "ManyResult", "Model", "ModelCard", "ModelError",
        "ModelEvaluation", "ModelSpec", "NetworkSpec", "NormalizationSpec", "OutputError", "PredictResult",
        "PredictSpec", "QuantizeResult", "SampleResult", "SceneError", "SceneFailure", "SceneRef", "SoupResult",
        "SpecError", "SuggestResult", "TileResult", "TrainResult", "TrainSpec", "VectorizeResult", "__version__",
        "compare", "evaluate", "evaluate_model", "export_model", "find_scenes", "import_model", "init", "leave_out",
        "load_model", "predict", "predict_many", "quantize", "sample", "save_model", "soup", "suggest", "tile",
        "train", "vectorize",
    ]  # fmt: skip
    for name in geoseg.__all__:
        assert getattr(geoseg, name) is not None


def test_names_live_where_the_table_says():
    for home, names in geoseg._HOMES.items():
        module = importlib.import_module(home)
        assert all(hasattr(module, name) for name in names)


def test_unknown_names_are_attribute_errors():
    assert not hasattr(geoseg, "segment")
