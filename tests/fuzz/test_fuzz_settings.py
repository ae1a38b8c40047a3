"""Whatever stands in a config, a list or a bundle, geoseg reads it or says in a line why not."""

import json
import struct
from pathlib import Path

import pytest
from fuzzing import CORPUS, LONG_S, ODD_VALUES, as_json, changed, edited, fuzz, nested, seeds, words
from hypothesis import strategies as st

from geoseg.data.listing import list_rasters
from geoseg.models.bundle import load_model
from geoseg.models.header import read_spec
from geoseg.scenes import find_scenes
from geoseg.spec import DataSpec, PredictSpec, TrainSpec, load_train_spec, load_yaml, parse_spec

CONFIGS = [path.read_bytes() for path in sorted((CORPUS.parents[2] / "configs").glob("*.yaml"))]
YAML_WORDS = (*words("yaml.words"), b"[" * 3000, b"{a: " * 3000, b"9" * 5000, b"0x" + b"f" * 3000, b"- " * 3000)
SECONDS = pytest.mark.parametrize("seconds", [None, pytest.param(LONG_S, marks=pytest.mark.slow)])


def read_config(path: Path) -> None:
    """As train, tile and evaluate read their config, then as predict reads its own."""
    load_yaml(path)
    load_train_spec(path)


@SECONDS
def test_yaml_configs(seconds):
    fuzz(read_config, edited([*CONFIGS, *seeds("odd.yaml")], YAML_WORDS), ".yaml", seconds)


@SECONDS
def test_values_of_a_training_config(seconds):
    trees = [
        load_yaml(CORPUS / "odd.yaml"),
        *(load_yaml(path) for path in sorted((CORPUS.parents[2] / "configs").glob("*.yaml"))),
    ]

    def read(path: Path) -> None:
        parse_spec(TrainSpec, json.loads(path.read_bytes()), source=str(path))

    fuzz(read, as_json(changed(trees)), ".json", seconds)


@SECONDS
def test_values_of_a_prediction(seconds):
    given = {"tile": 512, "overlap": 64, "bands": [1, 2, 3], "nodata": 0.0, "rescale": [0, 3000], "resolution": "model",
             "tta": "flips", "tta_scales": [1.0, 1.5], "min_area": "9px", "simplify": 1.0, "classes": ["water"],
             "bbox": [0, 0, 1, 1], "to_crs": "EPSG:4326", "devices": "0,1", "device": "cuda:0",
             "majority": 3}  # fmt: skip

    def read(path: Path) -> None:
        parse_spec(PredictSpec, json.loads(path.read_bytes()), source="settings")

    fuzz(read, as_json(changed([given])), ".json", seconds)


@SECONDS
def test_lists_of_tiles(seconds):
    data = {"bands": ["red"], "tiles": "it.csv"}

    def read(path: Path) -> None:
        list_rasters(DataSpec(**data | {"tiles": path}))

    starts = [
        *seeds("tiles.csv", "tiles_excel.csv"),
        *(s.decode("utf-8-sig").encode("utf-16") for s in seeds("tiles_excel.csv")),
    ]
    fuzz(read, edited(starts, (*words("csv.words"), b"a" * 200_000)), ".csv", seconds)


@SECONDS
def test_lists_of_scenes(seconds):
    fuzz(lambda path: find_scenes(str(path)), edited(seeds("list.txt"), words("list.words")), ".txt", seconds)


@SECONDS
def test_stac_items(seconds):
    trees = [json.loads(content) for content in seeds("item.json", "items.json")]
    texts = edited(
        seeds("item.json", "items.json"),
        (b"[" * 5000, b'{"a":' * 5000, b"9" * 5000, b"NaN", b"\\ud800", b"\xef\xbb\xbf"),
    )
    odd = (
        *ODD_VALUES,
        {"rel": "next", "href": "it.json"},
        {"rel": "next", "href": "/dev/zero"},
        {"href": "file:///x.tif"},
    )
    fuzz(lambda path: find_scenes(str(path)), st.one_of(as_json(changed(trees, odd)), texts), ".json", seconds)


def bundles(headers: st.SearchStrategy[bytes], weights: bytes) -> st.SearchStrategy[bytes]:
    """Bundles with other headers in front of the same weights."""
    return headers.map(lambda header: struct.pack("<Q", len(header)) + header + weights)


@SECONDS
def test_bundles(seconds):
    (content,) = seeds("tiny.safetensors")
    length = struct.unpack("<Q", content[:8])[0]
    header, weights = json.loads(content[8 : 8 + length]), content[8 + length :]
    spec = json.loads(header["__metadata__"]["geoseg"])
    unet = spec | {
        "network": {
            "architecture": "unet",
            "encoder": "tu-resnet18",
            "arguments": {"encoder_depth": 3, "decoder_channels": [8, 8, 8]},
        }
    }
    odd = (
        *ODD_VALUES,
        "unet",
        "fpn",
        "tu-resnet18",
        "tu-hf-hub:a/b",
        "tu-local-dir:/etc",
        {"checkpoint_path": "/etc/passwd"},
        nested(500),
        [12_000] * 5,
    )

    def with_spec(tree: object) -> bytes:
        metadata = header["__metadata__"] | {"geoseg": json.dumps(tree)}
        return json.dumps(header | {"__metadata__": metadata}).encode()

    def read(path: Path) -> None:
        read_spec(path)
        load_model(path)

    files = st.one_of(
        bundles(changed([spec, unet], odd).map(with_spec), weights),
        bundles(as_json(changed([header])), weights),
        edited([content]),
    )
    fuzz(read, files, ".safetensors", seconds)
