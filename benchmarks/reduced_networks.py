"""Networks that are known to rewire, at a size that a test can train: few blocks, few channels, small pictures.

Classes and options are those of the named network; so rewiring meets the same code.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from re2tal.networks.zoo.named import Network, optional, without_own_gradients
from re2tal.reversible import Example

__all__ = ["REDUCED", "build_reduced"]


def build_reduced(name: str) -> Network:
    """A small network of the kind that `name` is, and an example for it."""
    torch.manual_seed(0)
    model, example = REDUCED[name]()
    return Network(name, model.train(), example)


def _picture(size: int = 32) -> Tensor:
    return torch.randn(2, 3, size, size)


def _video(frames: int, size: int) -> Tensor:
    return torch.randn(2, 3, frames, size, size)


# torchvision


def _vision(name: str) -> Any:
    import torchvision.models as models

    return models if not name.startswith("video.") else models.video


def _swin(block: str, merging: str) -> tuple[nn.Module, Example]:
    from torchvision.models import swin_transformer as swin

    options = {"block": getattr(swin, block), "downsample_layer": getattr(swin, merging)}
    return swin.SwinTransformer([4, 4], 16, [2, 2], [2, 2], [4, 4], **options), _picture()


def _video_swin() -> tuple[nn.Module, Example]:
    from torchvision.models.video.swin_transformer import SwinTransformer3d

    return SwinTransformer3d([2, 4, 4], 16, [2, 2], [2, 2], [2, 4, 4]), _video(4, 32)


def _mvit(version: int) -> tuple[nn.Module, Example]:
    from torchvision.models.video.mvit import MSBlockConfig, MViT

    widths = [(16, 16), (16, 16), (16, 32), (32, 32), (32, 32)]
    blocks = [
        MSBlockConfig(2, a, b, [3, 3, 3], [3, 3, 3], [1, 2, 2] if a != b else [1, 1, 1], [1, 1, 1]) for a, b in widths
    ]
    second = version == 2
    options = {"residual_pool": second, "rel_pos_embed": second, "proj_after_attn": second}
    options["residual_with_cls_embed"] = not second
    return MViT((32, 32), 4, blocks, **options), _video(4, 32)


def _video_resnet(convolution: str) -> tuple[nn.Module, Example]:
    from torchvision.models.video import resnet

    conv = getattr(resnet, convolution)
    convs = [resnet.Conv3DSimple, conv, conv, conv] if convolution == "Conv3DNoTemporal" else [conv] * 4
    stem = resnet.R2Plus1dStem if convolution == "Conv2Plus1D" else resnet.BasicStem
    return resnet.VideoResNet(resnet.BasicBlock, convs, [2, 2, 1, 1], stem), _video(4, 16)


def _resnet(block: str, **options: Any) -> tuple[nn.Module, Example]:
    from torchvision.models import resnet

    return resnet.ResNet(getattr(resnet, block), [2, 3, 2, 1], **options), _picture()


def _vit() -> tuple[nn.Module, Example]:
    return _vision("vit").VisionTransformer(32, 8, 3, 2, 32, 64), _picture()


def _convnext() -> tuple[nn.Module, Example]:
    from torchvision.models.convnext import CNBlockConfig, ConvNeXt

    settings = [CNBlockConfig(8, 16, 2), CNBlockConfig(16, 16, 2), CNBlockConfig(16, None, 2)]
    return ConvNeXt(settings, stochastic_depth_prob=0.1), _picture(64)


def _efficientnet(kind: str) -> tuple[nn.Module, Example]:
    from torchvision.models import efficientnet

    if kind == "MBConvConfig":
        settings = [efficientnet.MBConvConfig(4, 3, stride, 8, 8, 3, 1, 1) for stride in (1, 2, 2)]
    else:
        settings = [efficientnet.FusedMBConvConfig(4, 3, stride, 8, 8, 3) for stride in (1, 2, 2)]
    return efficientnet.EfficientNet(settings, dropout=0.2, stochastic_depth_prob=0.1, num_classes=10), _picture(64)


def _mobilenet(version: int) -> tuple[nn.Module, Example]:
    if version == 2:
        settings = [[1, 8, 1, 1], [6, 8, 3, 2], [6, 16, 3, 2]]
        return _vision("").MobileNetV2(10, 0.25, settings), _picture(64)
    from torchvision.models.mobilenetv3 import InvertedResidualConfig, MobileNetV3

    rows = [(16, 3, 16, 16, True, "RE", 2), (16, 3, 32, 16, False, "RE", 1), (16, 5, 32, 16, True, "HS", 1)]
    return MobileNetV3([InvertedResidualConfig(*row, 1, 1.0) for row in rows], 32, num_classes=10), _picture(64)


def _regnet(se_ratio: float | None) -> tuple[nn.Module, Example]:
    from torchvision.models.regnet import BlockParams, RegNet

    params = BlockParams.from_init_params(8, 16, 8.0, 2.0, 8, se_ratio=se_ratio)
    return RegNet(params, num_classes=10), _picture(64)


def _maxvit() -> tuple[nn.Module, Example]:
    return _vision("").MaxVit((64, 64), 16, 8, [16, 16], [2, 2], 8, 0.1), _picture(64)


def _mnasnet() -> tuple[nn.Module, Example]:
    return _vision("").MNASNet(0.1, num_classes=10), _picture()


_TORCHVISION: dict[str, Callable[[], tuple[nn.Module, Example]]] = {
    "swin3d_t": _video_swin,
    "mvit_v1_b": partial(_mvit, 1),
    "mvit_v2_s": partial(_mvit, 2),
    "r3d_18": partial(_video_resnet, "Conv3DSimple"),
    "mc3_18": partial(_video_resnet, "Conv3DNoTemporal"),
    "r2plus1d_18": partial(_video_resnet, "Conv2Plus1D"),
    "resnet18": partial(_resnet, "BasicBlock"),
    "resnet50": partial(_resnet, "Bottleneck", width_per_group=8),
    "resnext50_32x4d": partial(_resnet, "Bottleneck", groups=32, width_per_group=1),
    "wide_resnet50_2": partial(_resnet, "Bottleneck", width_per_group=16),
    "vit_b_16": _vit,
    "swin_t": partial(_swin, "SwinTransformerBlock", "PatchMerging"),
    "swin_v2_t": partial(_swin, "SwinTransformerBlockV2", "PatchMergingV2"),
    "convnext_tiny": _convnext,
    "efficientnet_b0": partial(_efficientnet, "MBConvConfig"),
    "efficientnet_v2_s": partial(_efficientnet, "FusedMBConvConfig"),
    "mobilenet_v2": partial(_mobilenet, 2),
    "mobilenet_v3_small": partial(_mobilenet, 3),
    "mnasnet0_5": _mnasnet,
    "regnet_x_400mf": partial(_regnet, None),
    "regnet_y_400mf": partial(_regnet, 0.25),
    "maxvit_t": _maxvit,
}

# timm

_VIT = {"img_size": 32, "embed_dim": 32, "depth": 2, "num_heads": 2}
_VIT14 = {**_VIT, "img_size": 28}
_SWIN = {"img_size": 64, "embed_dim": 16, "depths": (2, 2), "num_heads": (2, 2)}
_RESNET = {"layers": (2, 2, 1, 1), "channels": (8, 16, 16, 16), "stem_width": 8}
_STAGES = {"depths": (2, 2, 1, 1), "dims": (8, 16, 16, 16)}

_TIMM: dict[str, dict[str, Any]] = {
    "vit_tiny_patch16_224": _VIT,
    "deit3_small_patch16_224": _VIT,
    "vit_base_patch16_siglip_224": _VIT,
    "vit_base_patch16_clip_224": _VIT,
    "vit_small_patch14_dinov2": _VIT14,
    "vit_small_patch14_reg4_dinov2": _VIT14,
    "vit_small_patch16_dinov3": _VIT,
    "vit_relpos_small_patch16_224": _VIT,
    "flexivit_small": _VIT,
    "aimv2_large_patch14_224": _VIT14,
    "eva02_tiny_patch14_224": _VIT14,
    "eva_giant_patch14_224": _VIT14,
    "beit_base_patch16_224": _VIT,
    "beitv2_base_patch16_224": _VIT,
    "cait_xxs24_224": _VIT,
    "xcit_nano_12_p16_224": _VIT,
    "mixer_s32_224": {"img_size": 64},
    "gmlp_s16_224": {"img_size": 32},
    "resmlp_12_224": {"img_size": 32},
    "swin_tiny_patch4_window7_224": {**_SWIN, "img_size": 56},
    "swinv2_tiny_window8_256": _SWIN,
    "swinv2_cr_tiny_ns_224": {**_SWIN, "window_size": 4},
    "convnext_atto": _STAGES,
    "convnextv2_atto": _STAGES,
    "inception_next_atto": {},
    "resnet18": _RESNET,
    "resnet26": _RESNET,
    "resnet26d": _RESNET,
    "seresnet18": _RESNET,
    "ecaresnet26t": _RESNET,
    "skresnet18": {"layers": (2, 2, 1, 1)},
    "resnetv2_50": {"layers": (2, 1, 1, 1), "channels": (16, 32, 32, 32), "stem_chs": 8},
    "regnetx_002": {},
    "regnety_002": {},
    "mobilenetv2_050": {},
    "mobilenetv3_small_050": {},
    "mobilenetv4_conv_small_050": {},
    "ghostnet_050": {},
    "poolformer_s12": {},
    "caformer_s18": {},
    "twins_svt_small": {
        "img_size": 64,
        "depths": (2, 2, 2, 2),
        "embed_dims": (16, 16, 16, 16),
        "num_heads": (2, 2, 2, 2),
    },
    "davit_tiny": {"depths": (1, 1, 2, 1), "embed_dims": (16, 16, 16, 16), "num_heads": (2, 2, 2, 2)},
    "edgenext_xx_small": {},
    "mobilevit_xxs": {},
    "mobilevitv2_050": {},
    "mambaout_femto": {"depths": (1, 1, 2, 1)},
    "starnet_s1": {},
    "hrnet_w18_small": {},
}


def _timm(name: str) -> tuple[nn.Module, Example]:
    options = dict(_TIMM[name])
    model = optional("timm").create_model(name, num_classes=10, **options)
    return model, _picture(options.get("img_size", 64))


# transformers

_TOWER = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
_PATCHES = {**_TOWER, "image_size": 32, "patch_size": 8}
_WORDS = {**_TOWER, "vocab_size": 64, "max_position_embeddings": 32, "pad_token_id": 0}
_CAUSAL = {**_WORDS, "num_key_value_heads": 2, "use_cache": False, "eos_token_id": 2, "bos_token_id": 1}
_PYRAMID = {"hidden_sizes": [8, 16, 16, 16], "depths": [2, 1, 1, 1]}
_HEADS = {**_PYRAMID, "image_size": 64, "hidden_sizes": [16, 16, 16, 16], "num_attention_heads": [2, 2, 2, 2]}
_WINDOWS = {"image_size": 32, "patch_size": 4, "embed_dim": 16, "depths": [2, 2], "num_heads": [2, 2], "window_size": 4}
_AUDIO = {
    **_TOWER,
    "conv_dim": [8, 8],
    "conv_stride": [4, 4],
    "conv_kernel": [8, 8],
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
    "feat_extract_norm": "layer",
    "do_stable_layer_norm": True,
    "mask_time_prob": 0.0,
}
_SEQUENCE_TO_SEQUENCE = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "vocab_size": 64,
    "use_cache": False,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
}
_PREDICTOR = {"pred_hidden_size": 32, "pred_num_hidden_layers": 2, "pred_num_attention_heads": 2, "pred_mlp_ratio": 2.0}


def _words() -> Tensor:
    return torch.arange(20).reshape(2, 10) + 3


_TRANSFORMERS: dict[str, tuple[dict[str, Any], Callable[[], dict[str, Tensor]]]] = {
    "VideoMAEModel": ({**_PATCHES, "num_frames": 4}, lambda: {"pixel_values": torch.randn(1, 4, 3, 32, 32)}),
    "VJEPA2Model": (
        {**_TOWER, **_PREDICTOR, "mlp_ratio": 2, "crop_size": 32, "patch_size": 8, "frames_per_clip": 4},
        lambda: {"pixel_values_videos": torch.randn(1, 4, 3, 32, 32)},
    ),
    "TimesformerModel": ({**_PATCHES, "num_frames": 4}, lambda: {"pixel_values": torch.randn(1, 4, 3, 32, 32)}),
    "VivitModel": (
        {**_TOWER, "image_size": 32, "tubelet_size": [2, 8, 8], "num_frames": 4},
        lambda: {"pixel_values": torch.randn(1, 4, 3, 32, 32)},
    ),
    **dict.fromkeys(
        ("ViTModel", "ViTMSNModel", "Data2VecVisionModel", "DINOv3ViTModel", "SiglipVisionModel", "CLIPVisionModel"),
        (_PATCHES, lambda: {"pixel_values": _picture()}),
    ),
    "BeitModel": ({**_PATCHES, "use_relative_position_bias": True}, lambda: {"pixel_values": _picture()}),
    **dict.fromkeys(
        ("Dinov2Model", "Dinov2WithRegistersModel"),
        ({**_PATCHES, "mlp_ratio": 2}, lambda: {"pixel_values": _picture()}),
    ),
    **dict.fromkeys(("SwinModel", "Swinv2Model"), (_WINDOWS, lambda: {"pixel_values": _picture()})),
    **dict.fromkeys(
        ("ConvNextModel", "ConvNextV2Model", "DINOv3ConvNextModel", "PoolFormerModel"),
        (_PYRAMID, lambda: {"pixel_values": _picture(64)}),
    ),
    **dict.fromkeys(("SegformerModel", "PvtModel"), (_HEADS, lambda: {"pixel_values": _picture(64)})),
    "ResNetModel": (
        {"embedding_size": 8, "hidden_sizes": [16, 16], "depths": [2, 2]},
        lambda: {"pixel_values": _picture(64)},
    ),
    "HieraModel": (
        {"embed_dim": 16, "image_size": [64, 64], "depths": [1, 2, 2, 1], "num_heads": [1, 2, 2, 2]},
        lambda: {"pixel_values": _picture(64)},
    ),
    **dict.fromkeys(("Wav2Vec2Model", "HubertModel"), (_AUDIO, lambda: {"input_values": torch.randn(2, 800)})),
    "ASTModel": (
        {**_TOWER, "patch_size": 8, "num_mel_bins": 16, "max_length": 32, "frequency_stride": 8, "time_stride": 8},
        lambda: {"input_values": torch.randn(2, 32, 16)},
    ),
    "WhisperModel": (
        {**_SEQUENCE_TO_SEQUENCE, "num_mel_bins": 8, "max_source_positions": 20, "max_target_positions": 20},
        lambda: {"input_features": torch.randn(2, 8, 40), "decoder_input_ids": _words()[:, :5]},
    ),
    "GPT2Model": (
        {"n_embd": 32, "n_layer": 2, "n_head": 2, "vocab_size": 64, "n_positions": 32, "use_cache": False}
        | {"bos_token_id": 1, "eos_token_id": 2},
        lambda: {"input_ids": _words()},
    ),
    **dict.fromkeys(
        ("LlamaModel", "MistralModel", "Qwen2Model", "Qwen3Model", "GemmaModel", "PhiModel", "GPTNeoXModel"),
        (_CAUSAL, lambda: {"input_ids": _words()}),
    ),
    "OPTModel": ({**_CAUSAL, "ffn_dim": 64, "word_embed_proj_dim": 32}, lambda: {"input_ids": _words()}),
    "T5EncoderModel": (
        {"d_model": 32, "d_ff": 64, "d_kv": 16, "num_layers": 3, "num_heads": 2, "vocab_size": 64},
        lambda: {"input_ids": _words()},
    ),
}


def _transformers(name: str) -> tuple[nn.Module, Example]:
    kind = getattr(optional("transformers"), name)
    settings, example = _TRANSFORMERS[name]
    return without_own_gradients(kind(kind.config_class(**settings))), example()


REDUCED: dict[str, Callable[[], tuple[nn.Module, Example]]] = {
    **{f"torchvision:{name}": build for name, build in _TORCHVISION.items()},
    **{f"timm:{name}": partial(_timm, name) for name in _TIMM},
    **{f"transformers:{name}": partial(_transformers, name) for name in _TRANSFORMERS},
}
"""Builders, by the names that `load` knows at full size."""
