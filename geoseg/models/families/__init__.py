"""Families of networks by the names of their architectures. Listing the names imports neither networks nor PyTorch.

A new family is a file here with a `geoseg.models.families.body.Family`, and a line in `FAMILIES` below for each of its
architectures; the name is the value of `network.architecture` in a config. One of another package is an entry point of
the group `geoseg.networks`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from geoseg.core.errors import ModelError
from geoseg.core.registry import Registry
from geoseg.spec.arguments import ARCHITECTURES

if TYPE_CHECKING:
    from geoseg.models.families.body import Family

FAMILIES: Registry[Family] = Registry(
    "architecture",
    "geoseg.networks",
    dict.fromkeys(ARCHITECTURES, "geoseg.models.families.smp:FAMILY")
    | {
        "pointwise": "geoseg.models.families.pointwise:FAMILY",
        "ddrnet23_slim": "geoseg.models.families.ddrnet:FAMILY",
        "ddrnet23": "geoseg.models.families.ddrnet:FAMILY",
        "gated_scnn": "geoseg.models.families.gated_scnn:FAMILY",
        "setr_naive": "geoseg.models.families.setr:FAMILY",
        "setr_pup": "geoseg.models.families.setr:FAMILY",
        "setr_mla": "geoseg.models.families.setr:FAMILY",
        "segmenter": "geoseg.models.families.segmenter:FAMILY",
        "structtoken": "geoseg.models.families.structtoken:FAMILY",
        "transunet": "geoseg.models.families.transunet:FAMILY",
        "fcn32s": "geoseg.models.families.fcn:FAMILY",
        "fcn16s": "geoseg.models.families.fcn:FAMILY",
        "fcn8s": "geoseg.models.families.fcn:FAMILY",
        "segnet": "geoseg.models.families.segnet:FAMILY",
        "nonlocal": "geoseg.models.families.non_local:FAMILY",
        "danet": "geoseg.models.families.danet:FAMILY",
        "ccnet": "geoseg.models.families.ccnet:FAMILY",
        "hrnetv2": "geoseg.models.families.hrnet:FAMILY",
        "ocr": "geoseg.models.families.ocr:FAMILY",
        "dynamic_world": "geoseg.models.families.dynamic_world:FAMILY",
        "unetformer": "geoseg.models.families.unetformer:FAMILY",
        "torchvision_deeplabv3": "geoseg.models.families.torchvision_deeplabv3:FAMILY",
        "torchgeo_fcn": "geoseg.models.families.torchgeo_fcn:FAMILY",
        "smp04_upernet": "geoseg.models.families.former_upernet:FAMILY",
        "maskformer": "geoseg.models.families.mask_classification:FAMILY",
        "mask2former": "geoseg.models.families.mask_classification:FAMILY",
    },
    ModelError,
)
