"""Numbers of weights of geoseg's own networks at their usual sizes, so that listing them builds none.

Written by `python docs/make_networks_reference.py --count`.
"""

from __future__ import annotations

from collections.abc import Mapping

BANDS, CLASSES = 3, 7
"""Bands and classes of the networks that are counted."""
PARAMETERS: Mapping[str, int] = {
    "unet": 24_437_239,
    "unetplusplus": 26_079_479,
    "manet": 31_784_503,
    "linknet": 21_772_135,
    "fpn": 23_156_167,
    "pspnet": 21_465_639,
    "deeplabv3": 26_008_647,
    "deeplabv3plus": 22_438_999,
    "pan": 21_477_550,
    "upernet": 29_601_223,
    "segformer": 21_878_087,
    "dpt": 121_779_695,
    "pointwise": 28,
    "ddrnet23_slim": 5_732_782,
    "ddrnet23": 20_296_270,
    "gated_scnn": 26_888_231,
    "setr_naive": 86_735_452,
    "setr_pup": 90_228_515,
    "setr_mla": 91_610_659,
    "segmenter": 102_043_406,
    "structtoken": 110_793_328,
    "transunet": 105_570_167,
    "fcn32s": 134_317_895,
    "fcn16s": 134_300_094,
    "fcn8s": 134_296_629,
    "segnet": 29_447_047,
    "nonlocal": 22_794_247,
    "danet": 22_783_607,
    "ccnet": 22_781_544,
    "hrnetv2": 9_637_597,
    "ocr": 70_072_910,
    "dynamic_world": 221_767,
    "unetformer": 21_761_209,
    "torchvision_deeplabv3": 39_635_271,
    "torchgeo_fcn": 149_959,
    "smp04_upernet": 22_681_479,
    "maskformer": 41_271_112,
    "mask2former": 44_004_616,
}
"""By architecture, see `Family.usual`."""
