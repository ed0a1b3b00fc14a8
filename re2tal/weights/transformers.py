"""The names that weights of video transformers have in files of others.

Ours are `net.` and the name in the network's library, transformers or torchvision; of InternVideo2, its authors' name.
What a file has fused (queries, keys and values) is cut into equal parts along its first dimension.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

__all__ = ["FAMILIES", "Family", "family_of"]

CLASSIFIER = "the classifier of the pretraining"
NORMALISATION = "pixel statistics, which the backbone has built in"
_DECODER = "the decoder of the pretraining"
_LAST_NORM = "the norm before the classifier or decoder of the pretraining"
_POSITIONS = "positions, which are computed from the size"
_POOLED = "what pools a whole clip in the pretraining"
_OTHER_MODELS = "not of the video encoder"


@dataclass(frozen=True, kw_only=True)
class Family:
    """Networks of one kind, of any size, and how others name their weights."""

    title: str
    marks: Mapping[str, str]
    """Writer -> a pattern that finds a name of its layout, and none of other networks; tried in this order."""
    wrappers: tuple[str, ...]
    """Prefixes that may stand before the names."""
    renamed: tuple[tuple[str, str | tuple[str, ...]], ...]
    """(pattern of a whole name, ours; several for the parts of a fused tensor)."""
    dropped: tuple[tuple[str, str], ...]
    """(pattern of the beginning of a name, why it is left out)."""

    def place(self, name: str) -> tuple[str | tuple[str, ...], str | None]:
        """Our name, or our names of the parts, and, if the tensor is left out, why; unknown names stay."""
        if name.startswith("net."):
            return name, None
        bare = name
        while (prefix := next(filter(bare.startswith, self.wrappers), None)) is not None:
            bare = bare.removeprefix(prefix)
        for pattern, ours in self.renamed:
            if match := re.fullmatch(pattern, bare):
                return match.expand(ours) if isinstance(ours, str) else tuple(map(match.expand, ours)), None
        reason = next((reason for pattern, reason in self.dropped if re.match(pattern, bare)), None)
        return name, reason


_LAYER = r"net.encoder.layer.\1."
_EITHER = r"(weight|bias)"
_QKV = ("query", "key", "value")

_VIDEOMAE = Family(
    title="VideoMAE",
    marks={
        "transformers": r"(^|\.)encoder\.layer\.\d+\.attention\.attention\.(q_bias|query\.weight)$",
        "mmaction2": r"(^|\.)blocks\.\d+\.mlp\.layers\.0\.0\.weight$",
        "its authors": r"(^|\.)blocks\.\d+\.attn\.q_bias$",
    },
    wrappers=("backbone.", "model.", "videomae."),
    renamed=(
        # the authors', with those of mmaction2 where they differ
        (
            rf"(?:encoder\.)?patch_embed\.proj(?:ection)?\.{_EITHER}",
            r"net.embeddings.patch_embeddings.projection.\1",
        ),
        (rf"(?:encoder\.)?blocks\.(\d+)\.norm1\.{_EITHER}", _LAYER + r"layernorm_before.\2"),
        (rf"(?:encoder\.)?blocks\.(\d+)\.norm2\.{_EITHER}", _LAYER + r"layernorm_after.\2"),
        (r"(?:encoder\.)?blocks\.(\d+)\.attn\.q_bias", _LAYER + "attention.attention.query.bias"),
        (r"(?:encoder\.)?blocks\.(\d+)\.attn\.v_bias", _LAYER + "attention.attention.value.bias"),
        (
            r"(?:encoder\.)?blocks\.(\d+)\.attn\.qkv\.weight",
            tuple(f"{_LAYER}attention.attention.{part}.weight" for part in _QKV),
        ),
        (rf"(?:encoder\.)?blocks\.(\d+)\.attn\.proj\.{_EITHER}", _LAYER + r"attention.output.dense.\2"),
        (rf"(?:encoder\.)?blocks\.(\d+)\.mlp\.(?:fc1|layers\.0\.0)\.{_EITHER}", _LAYER + r"intermediate.dense.\2"),
        (rf"(?:encoder\.)?blocks\.(\d+)\.mlp\.(?:fc2|layers\.1)\.{_EITHER}", _LAYER + r"output.dense.\2"),
        # of transformers, which called biases so in older files
        (r"encoder\.layer\.(\d+)\.attention\.attention\.q_bias", _LAYER + "attention.attention.query.bias"),
        (r"encoder\.layer\.(\d+)\.attention\.attention\.v_bias", _LAYER + "attention.attention.value.bias"),
        (r"(embeddings\.patch_embeddings\.projection\..+|encoder\.layer\..+)", r"net.\1"),
    ),
    dropped=(
        (r"(encoder\.)?pos_embed$", _POSITIONS),
        (r"(encoder\.norm|norm|fc_norm|layernorm)\.", _LAST_NORM),
        (r"(decoder\.|encoder_to_decoder\.|mask_token$)", _DECODER),
        (r"(head|cls_head|classifier)\.", CLASSIFIER),
        (r"data_preprocessor\.", NORMALISATION),
    ),
)

_VJEPA2 = Family(
    title="V-JEPA 2",
    marks={
        "transformers": r"(^|\.)encoder\.embeddings\.patch_embeddings\.proj\.weight$",
        "its authors": r"^(module\.|backbone\.)*blocks\.\d+\.attn\.qkv\.bias$",
    },
    wrappers=("module.", "backbone.", "vjepa2."),
    renamed=(
        (rf"patch_embed\.proj\.{_EITHER}", r"net.encoder.embeddings.patch_embeddings.proj.\1"),
        (
            rf"blocks\.(\d+)\.attn\.qkv\.{_EITHER}",
            tuple(rf"{_LAYER}attention.{part}.\2" for part in _QKV),
        ),
        (rf"blocks\.(\d+)\.attn\.proj\.{_EITHER}", _LAYER + r"attention.proj.\2"),
        (rf"blocks\.(\d+)\.(norm1|norm2|mlp\.fc1|mlp\.fc2)\.{_EITHER}", _LAYER + r"\2.\3"),
        (rf"norm\.{_EITHER}", r"net.encoder.layernorm.\1"),
        (r"(encoder\..+)", r"net.\1"),
    ),
    dropped=(
        (r"pos_embed$", "positions that are not used: those of V-JEPA 2 are rotations"),
        (r"predictor\.", "the predictor, which is for training without labels"),
        (r"(pooler|classifier)\.", CLASSIFIER),
    ),
)

_INTERNVIDEO2 = Family(
    title="InternVideo2",
    marks={"its authors": r"(^|\.)blocks\.\d+\.attn\.q_norm\.weight$"},
    wrappers=("module.", "model.", "vision_encoder."),
    renamed=((r"((?:patch_embed\.proj|blocks\.\d+)\..+|cls_token|pos_embed)", r"net.\1"),),
    dropped=(
        (r"(clip_projector\.|final_clip_decoder\.|clip_decoder\.|clip_(img_)?pos_embed$|img_pos_embed$)", _POOLED),
        (r"mae_(decoder|pos_embed)", _DECODER),
        (r"(fc_norm|head)\.", CLASSIFIER),
        (r"(text_encoder|text_proj|vision_proj|vision_align|itm_head|temp$|logit_scale$)", _OTHER_MODELS),
    ),
)

_MVIT = Family(
    title="MViTv2",
    marks={"torchvision": r"^blocks\.\d+\.attn\.rel_pos_h$"},
    wrappers=(),
    renamed=((r"((?:conv_proj|pos_encoding|blocks|norm)\..+)", r"net.\1"),),
    dropped=((r"head\.", CLASSIFIER),),
)

FAMILIES = {"videomae": _VIDEOMAE, "internvideo2": _INTERNVIDEO2, "mvit": _MVIT, "vjepa2": _VJEPA2}
"""By the `weight_names` of their configs; those that are told by more come first."""

_OURS = {
    "videomae": r"(^|\.)net\.encoder\.layer\.\d+\.layernorm_before\.weight$",
    "vjepa2": r"(^|\.)net\.encoder\.embeddings\.patch_embeddings\.proj\.weight$",
    "internvideo2": r"(^|\.)net\.blocks\.\d+\.attn\.q_norm\.weight$",
    "mvit": r"(^|\.)net\.blocks\.\d+\.attn\.rel_pos_h$",
}


def family_of(names: Collection[str]) -> tuple[str, str] | None:
    """The family and the writer whose names these are; None if they are of none of the families."""
    for kind, pattern in _OURS.items():
        if any(re.search(pattern, name) for name in names):
            return kind, "re2tal"
    for kind, family in FAMILIES.items():
        for writer, pattern in family.marks.items():
            if any(re.search(pattern, name) for name in names):
                return kind, writer
    return None
