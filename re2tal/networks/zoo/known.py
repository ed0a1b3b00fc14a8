"""Networks that are known to rewire; the tests train each of them at a size that a test can train."""

__all__ = ["KNOWN"]

_TORCHVISION = (
    "swin3d_t", "mvit_v1_b", "mvit_v2_s", "r3d_18", "mc3_18", "r2plus1d_18", "resnet18", "resnet50",
    "resnext50_32x4d", "wide_resnet50_2", "vit_b_16", "swin_t", "swin_v2_t", "convnext_tiny", "efficientnet_b0",
    "efficientnet_v2_s", "mobilenet_v2", "mobilenet_v3_small", "mnasnet0_5", "regnet_x_400mf", "regnet_y_400mf",
    "maxvit_t",
)  # fmt: skip
_TIMM = (
    "vit_tiny_patch16_224", "deit3_small_patch16_224", "vit_base_patch16_siglip_224", "vit_base_patch16_clip_224",
    "vit_small_patch14_dinov2", "vit_small_patch14_reg4_dinov2", "vit_small_patch16_dinov3",
    "vit_relpos_small_patch16_224", "flexivit_small", "aimv2_large_patch14_224", "eva02_tiny_patch14_224",
    "eva_giant_patch14_224", "beit_base_patch16_224", "beitv2_base_patch16_224", "cait_xxs24_224",
    "xcit_nano_12_p16_224", "mixer_s32_224", "gmlp_s16_224", "resmlp_12_224", "swin_tiny_patch4_window7_224",
    "swinv2_tiny_window8_256", "swinv2_cr_tiny_ns_224", "convnext_atto", "convnextv2_atto", "inception_next_atto",
    "resnet18", "resnet26", "resnet26d", "seresnet18", "ecaresnet26t", "skresnet18", "resnetv2_50", "regnetx_002",
    "regnety_002", "mobilenetv2_050", "mobilenetv3_small_050", "mobilenetv4_conv_small_050", "ghostnet_050",
    "poolformer_s12", "caformer_s18", "twins_svt_small", "davit_tiny", "edgenext_xx_small", "mobilevit_xxs",
    "mobilevitv2_050", "mambaout_femto", "starnet_s1", "hrnet_w18_small",
)  # fmt: skip
_TRANSFORMERS = (
    "VideoMAEModel", "VJEPA2Model", "TimesformerModel", "VivitModel", "ViTModel", "ViTMSNModel",
    "Data2VecVisionModel", "DINOv3ViTModel", "SiglipVisionModel", "CLIPVisionModel", "BeitModel", "Dinov2Model",
    "Dinov2WithRegistersModel", "SwinModel", "Swinv2Model", "ConvNextModel", "ConvNextV2Model",
    "DINOv3ConvNextModel", "PoolFormerModel", "SegformerModel", "PvtModel", "ResNetModel", "HieraModel",
    "Wav2Vec2Model", "HubertModel", "ASTModel", "WhisperModel", "GPT2Model", "LlamaModel", "MistralModel",
    "Qwen2Model", "Qwen3Model", "GemmaModel", "PhiModel", "GPTNeoXModel", "OPTModel", "T5EncoderModel",
)  # fmt: skip

KNOWN: tuple[str, ...] = (
    *(f"torchvision:{name}" for name in _TORCHVISION),
    *(f"timm:{name}" for name in _TIMM),
    *(f"transformers:{name}" for name in _TRANSFORMERS),
)
"""Names that `load` takes; it builds them at full size."""
