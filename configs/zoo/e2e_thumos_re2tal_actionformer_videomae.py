"""ActionFormer on THUMOS-14 with VideoMAE-B of transformers, rewired: 1024 frames go through it as 64 pieces of 16.

It begins near the pretrained network and becomes Re2TAL's in the first 40 epochs (Dr2Net's coefficients), so its
weights are those of the network that was never rewired, under the names that they have in transformers' class:

    import torch
    from transformers import VideoMAEModel
    model = VideoMAEModel.from_pretrained("MCG-NJU/videomae-base-finetuned-kinetics")
    torch.save(model.state_dict(), "pretrained/videomae-base.pth")

Needs pip install "re2tal[zoo]".
"""

from pathlib import Path

from re2tal.config.presets import thumos
from re2tal.networks.backbones import FactoryConfig

config = thumos(
    name="re2tal_e2e_actionformer_videomae_frame1024",
    backbone=FactoryConfig(
        factory="transformers:VideoMAEModel",
        takes="BTCHW",
        clip_frames=16,
        time_positions=8,  # a tubelet is two frames long
        out_channels=768,
        reversible=True,
        alpha=0.75,
        beta=0.25,
        pretrained=Path("pretrained/videomae-base.pth"),
    ),
    anneal_epochs=40,
)
