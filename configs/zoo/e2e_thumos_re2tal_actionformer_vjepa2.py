"""ActionFormer on THUMOS-14 with the encoder of V-JEPA 2 (ViT-L) of transformers, rewired: 16 pieces of 64 frames.

It begins near the pretrained network and becomes Re2TAL's in the first 40 epochs (Dr2Net's coefficients), so its
weights are those of the network that was never rewired, under the names that they have in transformers' class:

    import torch
    from transformers import VJEPA2Model
    model = VJEPA2Model.from_pretrained("facebook/vjepa2-vitl-fpc64-256")
    torch.save(model.state_dict(), "pretrained/vjepa2-large.pth")

Needs pip install "re2tal[zoo]".
"""

from pathlib import Path

from re2tal.config.presets import thumos
from re2tal.networks.backbones import FactoryConfig

config = thumos(
    name="re2tal_e2e_actionformer_vjepa2_frame1024",
    backbone=FactoryConfig(
        factory="transformers:VJEPA2Model",
        options={"crop_size": 224},
        # Its predictor is for training without labels.
        arguments={"skip_predictor": True},
        left_out=("predictor",),
        takes="BTCHW",
        clip_frames=64,
        time_positions=32,  # a tubelet is two frames long
        out_channels=1024,
        reversible=True,
        alpha=0.75,
        beta=0.25,
        pretrained=Path("pretrained/vjepa2-large.pth"),
        pretrained_allow=("predictor.*", "net.predictor.*"),
    ),
    anneal_epochs=40,
)
