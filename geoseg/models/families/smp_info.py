"""The architectures of segmentation-models-pytorch and the papers that they are from."""

from __future__ import annotations

from geoseg.models.families.info import NetworkInfo

SOURCE, LICENCE = "segmentation-models-pytorch", "MIT"
ANY = "any of smp or timm (tu-NAME)"
PYRAMIDS = "any of smp or timm (tu-NAME), but mit_*"
DILATING = "those of smp or timm (tu-NAME) that can dilate: ResNets, EfficientNets, ConvNeXts, mit_* and others"
RATES = "Its decoder_atrous_rates suit windows of 512 px and more: smaller ones need smaller rates."
DILATES = "Its encoder's strides are replaced by dilation, which VGG, Swin, PVT and HRNet do not support."


def _info(title: str, year: int, paper: str, encoders: str = ANY, limits: str = "") -> NetworkInfo:
    return NetworkInfo(title, year, paper, SOURCE, LICENCE, encoders, limits=limits)


INFO = {
    "unet": _info(
        "U-Net",
        2015,
        'Ronneberger, Fischer and Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation", MICCAI 2015',
    ),
    "unetplusplus": _info(
        "UNet++",
        2018,
        'Zhou, Siddiquee, Tajbakhsh and Liang, "UNet++: A Nested U-Net Architecture for Medical Image Segmentation", '
        "DLMIA 2018",
        PYRAMIDS,
    ),
    "manet": _info(
        "MA-Net",
        2020,
        'Fan, Wang, Li and Wang, "MA-Net: A Multi-Scale Attention Network for Liver and Tumor Segmentation", '
        "IEEE Access 2020",
    ),
    "linknet": _info(
        "LinkNet",
        2017,
        'Chaurasia and Culurciello, "LinkNet: Exploiting Encoder Representations for Efficient Semantic Segmentation", '
        "VCIP 2017",
        PYRAMIDS,
    ),
    "fpn": _info(
        "FPN",
        2017,
        'Lin, Dollár, Girshick, He, Hariharan and Belongie, "Feature Pyramid Networks for Object Detection", CVPR '
        '2017; for segmentation: Kirillov, Girshick, He and Dollár, "Panoptic Feature Pyramid Networks", CVPR 2019',
    ),
    "pspnet": _info(
        "PSPNet",
        2017,
        'Zhao, Shi, Qi, Wang and Jia, "Pyramid Scene Parsing Network", CVPR 2017',
        limits="By default it uses the encoder's first three stages alone (encoder_depth).",
    ),
    "deeplabv3": _info(
        "DeepLabv3",
        2017,
        'Chen, Papandreou, Schroff and Adam, "Rethinking Atrous Convolution for Semantic Image Segmentation", '
        "arXiv 1706.05587, 2017",
        DILATING,
        f"{DILATES} {RATES}",
    ),
    "deeplabv3plus": _info(
        "DeepLabv3+",
        2018,
        'Chen, Zhu, Papandreou, Schroff and Adam, "Encoder-Decoder with Atrous Separable Convolution for Semantic '
        'Image Segmentation", ECCV 2018',
        DILATING,
        f"{DILATES} {RATES}",
    ),
    "pan": _info(
        "PAN",
        2018,
        'Li, Xiong, An and Wang, "Pyramid Attention Network for Semantic Segmentation", BMVC 2018',
        DILATING,
        DILATES,
    ),
    "upernet": _info(
        "UPerNet",
        2018,
        'Xiao, Liu, Zhou, Jiang and Sun, "Unified Perceptual Parsing for Scene Understanding", ECCV 2018',
    ),
    "segformer": _info(
        "SegFormer",
        2021,
        'Xie, Wang, Yu, Anandkumar, Alvarez and Luo, "SegFormer: Simple and Efficient Design for Semantic Segmentation '
        'with Transformers", NeurIPS 2021',
        limits="The paper's encoders mit_* may not be used commercially; its decoder goes with any other.",
    ),
    "dpt": _info(
        "DPT",
        2021,
        'Ranftl, Bochkovskiy and Koltun, "Vision Transformers for Dense Prediction", ICCV 2021',
        "vision transformers of timm (tu-vit_*)",
        "Other windows than those of its pretraining need dynamic_img_size: true among network.arguments.",
    ),
}
"""By the name of the architecture."""
