"""What does not fit is told name by name, and is an error unless allowed."""

from pathlib import Path

import pytest
import torch
from torch import nn

from re2tal.config import load_config
from re2tal.networks.backbones import SwinConfig, build_backbone
from re2tal.weights import WeightsError, compare, load_detector, load_pretrained, place, read_weights
from tests.weights.reference_files import numbered, slowfast_entries, swin_entries

CONFIGS = Path(__file__).parents[2] / "configs/re2tal"
SMALL = SwinConfig(embed_dim=4, depths=(1, 1), num_heads=(1, 2))
ENTRIES = swin_entries(embed_dim=4, depths=(1, 1), heads=(1, 2))


def two_layers() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))


OTHER = {"0.weight": torch.zeros(5, 3), "0.bias": torch.ones(2), "2.weight": torch.zeros(1)}


def test_differences_are_listed_by_name_and_shape() -> None:
    model = two_layers()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(WeightsError) as caught:
        place(OTHER, model, source="x.pth", fix="take another")
    assert str(caught.value) == (
        "x.pth does not fit the model: 1 tensors do, 4 do not"
        "\n  missing, only in the model (2):\n    1.weight (2, 2)\n    1.bias (2,)"
        "\n  unexpected, only in the file (1):\n    2.weight (1,)"
        "\n  of another shape (1):\n    0.weight is (5, 3) in the file, (2, 3) in the model"
        "\ntake another"
    )
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_long_list_of_names_has_an_end() -> None:
    model = nn.Sequential(*[nn.Linear(1, 1) for _ in range(20)])
    with pytest.raises(WeightsError) as caught:
        place({"0.bias": torch.zeros(1)}, model, source="x.pth", fix="")
    missing = [f"{number}.{kind}" for number in range(20) for kind in ("weight", "bias")]
    missing.remove("0.bias")
    assert all(f"\n    {name} (1," in str(caught.value) for name in missing[:10])
    assert "\n    and 29 more" in str(caught.value) and "(39)" in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_and_the_model_stays_as_it_was(value: float) -> None:
    model = nn.Linear(2, 3)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    broken = {**before, "weight": torch.tensor([[1.0, 2.0], [3.0, value], [5.0, 6.0]])}
    with pytest.raises(WeightsError, match=r"1 of 2 tensors of x.pth hold NaN or infinity, such as weight \(1 of 6"):
        place(broken, model, source="x.pth", fix="")
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_weights_that_the_network_s_type_cannot_hold_are_refused() -> None:
    """They are finite in the file, and infinite where they are computed with."""
    model = nn.Linear(2, 3)
    weights = {"weight": torch.full((3, 2), 1e300, dtype=torch.float64), "bias": torch.zeros(3)}
    with pytest.raises(WeightsError, match=r"1 of 2 tensors of x.pth hold NaN or infinity, such as weight \(6 of 6"):
        place(weights, model, source="x.pth", fix="")


def test_allowed_differences_leave_the_model_as_it_was_there() -> None:
    model = two_layers()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    placement = place(OTHER, model, source="x.pth", fix="", allow=("1.*", "?.weight"))
    assert placement.placed == ("0.bias",) and placement.refused == ()
    assert torch.equal(model.state_dict()["0.bias"], torch.ones(2))
    assert all(torch.equal(before[n], model.state_dict()[n]) for n in ("0.weight", "1.weight", "1.bias"))
    assert "2.weight (1,)" in placement.differences()


def test_what_no_pattern_covers_is_refused_still() -> None:
    with pytest.raises(WeightsError, match=r"1 tensors do, 3 do not and are not allowed to by 2\.\*"):
        place(OTHER, two_layers(), source="x.pth", fix="", allow=("2.*",))


def test_nothing_in_place_is_never_allowed() -> None:
    with pytest.raises(WeightsError, match="x.pth has no tensor that fits the model"):
        place({"a": torch.ones(1)}, two_layers(), source="x.pth", fix="", allow=("*",))


def test_numbers_take_the_type_of_the_model() -> None:
    model = nn.BatchNorm1d(2)
    model.register_buffer("loss_normalizer", torch.tensor(100.0))
    weights = {name: value.half() for name, value in model.state_dict().items()}
    weights["loss_normalizer"] = torch.tensor(250)
    place(weights, model, source="x.pth", fix="")
    assert model.get_buffer("loss_normalizer").item() == 250.0
    assert model.weight.dtype == model.get_buffer("loss_normalizer").dtype == torch.float32


def test_a_report_tells_what_was_placed_and_what_was_dropped() -> None:
    weights = {"0.weight": torch.zeros(2, 3), "0.bias": torch.zeros(2)}
    report = str(
        compare(weights, two_layers(), dropped={"cls_head.b": "the classifier", "cls_head.w": "the classifier"})
    )
    assert report == (
        "placed 2: 0.weight 1, 0.bias 1"
        "\n  dropped, the classifier (2):\n    cls_head.b\n    cls_head.w"
        "\n  missing, only in the model (2):\n    1.weight (2, 2)\n    1.bias (2,)"
    )


def write(path: Path, *, rewired: bool, leave_out: str = "nothing") -> Path:
    named = ((f"backbone.{e.rewired if rewired else e.plain}", e.shape) for e in ENTRIES)
    torch.save({"state_dict": {n: v for n, v in numbered(named).items() if leave_out not in n}}, path)
    return path


def test_pretrained_weights_may_differ_where_allowed(tmp_path: Path) -> None:
    path = write(tmp_path / "part.pth", rewired=False, leave_out="layers.1.")
    network = build_backbone(SMALL).network
    with pytest.raises(WeightsError, match=r"(?s)features\.2\.0\.norm1\.weight \(8,\).*backbone\.pretrained_allow"):
        load_pretrained(network, path=path, kind="swin", reversible=False)
    done = load_pretrained(network, path=path, kind="swin", reversible=False, allow=("features.2.*",))
    assert len(done.placement.missing) == 13 and done.placement.refused == ()


def test_a_swin_is_no_slowfast(tmp_path: Path) -> None:
    path = write(tmp_path / "swin.pth", rewired=True)
    with pytest.raises(WeightsError, match=r"swin\.pth holds a rewired Video Swin \(Re2TAL\), and .* a slowfast"):
        load_pretrained(nn.Identity(), path=path, kind="slowfast", reversible=True)
    torch.save(numbered((e.plain, e.shape) for e in slowfast_entries(blocks=(1,))), tmp_path / "slowfast.pth")
    with pytest.raises(WeightsError, match=r"holds a SlowFast \(mmaction2\), and the config describes a swin"):
        load_pretrained(nn.Identity(), path=tmp_path / "slowfast.pth", kind="swin", reversible=True)


@pytest.mark.parametrize(
    ("in_file", "reversible", "warning"),
    [(True, True, None), (False, False, None), (False, True, "a place to start from"), (True, False, "something else")],
)
def test_plain_and_rewired_weights_are_told_apart(
    tmp_path: Path, in_file: bool, reversible: bool, warning: str | None
) -> None:
    path = write(tmp_path / "swin.pth", rewired=in_file)
    network = build_backbone(SMALL.model_copy(update={"reversible": reversible})).network
    told = load_pretrained(network, path=path, kind="swin", reversible=reversible).warning
    assert told is None if warning is None else told is not None and warning in told


def test_a_detector_of_the_other_wiring_is_refused(tmp_path: Path) -> None:
    named = ((f"module.backbone.model.backbone.{e.rewired}", e.shape) for e in ENTRIES)
    torch.save({"state_dict": numbered(named)}, tmp_path / "detector.pth")
    file = read_weights(tmp_path / "detector.pth")
    with pytest.raises(WeightsError, match=r"rewired Video Swin \(OpenTAD\).* use the config with .*reversible=True"):
        load_detector(nn.Identity(), file, kind="swin", reversible=False)


def test_a_backbone_is_no_detector(tmp_path: Path) -> None:
    file = read_weights(write(tmp_path / "swin.pth", rewired=False))
    with pytest.raises(WeightsError, match=r"no detector; give .* or train from it with backbone\.pretrained="):
        load_detector(nn.Identity(), file, kind="swin", reversible=False)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.py")), ids=lambda path: path.stem)
def test_the_published_experiments_tell_where_their_weights_come_from(tmp_path: Path, path: Path) -> None:
    backbone = load_config(path).backbone
    assert backbone.pretrained is not None
    wanted = "the authors of Re2TAL" if backbone.reversible else "mmaction2"
    with pytest.raises(
        WeightsError, match=f", which is .* trained on Kinetics-400 by {wanted}; .*https://.* put it there"
    ):
        load_pretrained(nn.Identity(), path=tmp_path / backbone.pretrained.name, kind=backbone.kind, reversible=True)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "slowfast_r101_8xb8-8x8x1-256e_kinetics400-rgb_20220818-9c0e09bd.pth",
            "which is SlowFast-101 8x8 trained on Kinetics-400 by mmaction2; download https://download.openmmlab.com/",
        ),
        ("invswin-tiny-p244-w877_kinetics400_pre_k400_ft_e30.pth", "follow the link 'Re2Swin-T' on https://github.com"),
        ("my_own.pth", "Published files:\n  swin-tiny-p244"),
    ],
)
def test_absent_weights_are_told_where_to_get(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(WeightsError) as caught:
        load_pretrained(nn.Identity(), path=tmp_path / name, kind="swin", reversible=True)
    told = str(caught.value)
    assert told.startswith(f"there are no pretrained weights {tmp_path / name}") and message in told
    assert "or start from fresh weights with backbone.pretrained=None" in told
