"""Ways to damage a document, drawn by hypothesis: values of other types, numbers and names of any size, cut bytes."""

import copy
import json
import re
from collections.abc import Iterator
from typing import Any

import torch
from hypothesis import strategies as st

__all__ = ["ODD_JSON", "any_json", "damaged_bytes", "damaged_json", "damaged_text", "damaged_values", "odd_words"]

# As they stand in a file: what no writer of JSON gives stands here, too.
ODD_JSON = (
    "null", "true", "0", "-1", "-0.0", "0.5", "1e308", "-1e308", "1e400", "-1e400", "1e-400", "NaN", "Infinity",
    "1" * 20, "9" * 309, "-" + "9" * 309, "9" * 5000, '""', '"x"', '"1"', '"nan"', "[]", "{}", "[null]", "[1, 2]",
    "[[1, 2]]", "[2, 1]", "[1]", "[1, NaN]", "[1e308, -1e308]", "[-1e308, 1e308]", "[0, 1e308]",
    '["1", "2"]', '{"x": 1}', '{"a": 1, "a": 2}',
    '"\\u0000"', '"\\ud800"', '"\\udc80"', '"\\u001b[2J"', '"\\u202e\\u2066"', '"a\\nb"', '"../../x"', '"/etc/passwd"',
    '"' + "long " * 100 + '"', "[" * 500 + "]" * 500, "[" * 100_000 + "]" * 100_000, '{"a":' * 3000 + "1" + "}" * 3000,
    "[" + "0," * 2000 + "0]",
)  # fmt: skip
_ODD_WORDS = (
    "", " ", "nan", "-inf", "1e400", "1e308", "-1", "0", "9" * 400, "9" * 5000, "1_000", "0x10", "\u0661", "1:2:3:4",
    "9" * 5000 + ":00", "None", "true", "\0", "\n", "\r", "\t", ",", ";", '"', "'", "=1+1", "#", "\x1b[2J", "\u202e",
    "\u2028", "\x85", "\ud800", "\udce9", "../../x", "/etc/passwd", "a" * 300, "[", "]" * 5, "(" * 300, "[" * 100_000,
    "{", "{}", "&lol;", "<!DOCTYPE x [<!ENTITY a 'b'>]>", "<x>", "</TIER>", "]]>", "__import__('os')", "\\", "[red]",
)  # fmt: skip

odd_words = st.one_of(st.sampled_from(_ODD_WORDS), st.text(max_size=6))
any_json = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
    max_leaves=12,
)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container in a value with each of its keys."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield value, key
        yield from _places(inner)


@st.composite
def damaged_json(draw: st.DrawFn, document: Any) -> bytes:
    """A JSON document in which up to three values are others, keys are gone, twice or renamed; and its bytes."""
    content = {"": copy.deepcopy(document)}
    raw: list[str] = []
    for _ in range(draw(st.integers(0, 3))):
        container, key = draw(st.sampled_from(list(_places(content))))
        kind = draw(st.sampled_from(("replace", "replace", "replace", "remove", "rename")))
        if kind == "remove" and container is not content:
            del container[key]
        elif kind == "rename" and isinstance(container, dict) and container is not content:
            container[draw(odd_words)] = container.pop(key)
        else:
            raw.append(draw(st.one_of(st.sampled_from(ODD_JSON), any_json.map(json.dumps))))
            container[key] = f"@raw{len(raw) - 1}@"
    text = json.dumps(content[""], ensure_ascii=draw(st.booleans()))
    text = re.sub(r'"@raw(\d+)@"', lambda match: raw[int(match[1])], text)
    keys = list(re.finditer(r'"(?:[^"\\]|\\.)*": ', text))
    if keys and draw(st.integers(0, 9)) == 0:
        place = draw(st.sampled_from(keys))
        text = f"{text[: place.start()]}{place.group()}0, {text[place.start() :]}"
    return draw(damaged_bytes(text.encode("utf-8", "surrogatepass")))


@st.composite
def damaged_text(draw: st.DrawFn, text: str) -> bytes:
    """A text in which up to three words are others; and its bytes."""
    words = re.split(r"([\s,;|<>=\"/]+)", text)
    for _ in range(draw(st.integers(0, 3))):
        words[draw(st.integers(0, len(words) - 1))] = draw(odd_words)
    return draw(damaged_bytes("".join(words).encode("utf-8", "surrogatepass")))


@st.composite
def damaged_bytes(draw: st.DrawFn, raw: bytes) -> bytes:
    """Bytes as they are, mostly; or cut off, changed, of another encoding, or of nothing at all."""
    kinds = ("cut", "change", "insert", "mark", "zeros", "utf-16", "utf-32", "latin-1", "other")
    kind = draw(st.sampled_from(("same",) * 27 + kinds))
    place = draw(st.integers(0, len(raw))) if kind in ("cut", "change", "insert") else 0
    text = raw.decode("utf-8", "replace") if kind in ("utf-16", "utf-32", "latin-1") else ""
    match kind:
        case "same":
            return raw
        case "cut":
            return raw[:place]
        case "change":
            return raw[:place] + draw(st.binary(min_size=1, max_size=8)) + raw[place + 8 :]
        case "insert":
            return raw[:place] + draw(st.binary(min_size=1, max_size=8)) + raw[place:]
        case "mark":
            return b"\xef\xbb\xbf" + raw
        case "zeros":
            return raw + b"\0" * 64
        case "other":
            return draw(st.binary(max_size=200))
        case _:
            return text.encode(kind, "replace")


def _odd_tensors() -> list[torch.Tensor]:
    return [
        torch.zeros(0),
        torch.tensor(float("nan")),
        torch.full((2,), float("inf")),
        torch.ones(1).expand(10**12),
        torch.eye(2).to_sparse(),
        torch.ones(2, dtype=torch.complex64),
        torch.ones(2, dtype=torch.bool),
        torch.ones(2, dtype=torch.float8_e4m3fn),
        torch.empty(2, device="meta"),
    ]


_ODD_VALUES = (
    None, True, -1, 2**70, 10**5000, 0.5, float("nan"), float("inf"), "", "x", "\ud800", "\x1b[2J", "1", b"\0", [],
    {}, (1,), [None], {"x": 1}, {1: 2}, {"a", "b"}, "[" * 100_000, "{}", '{"backbone": 1}',
    '{"backbone": {"reversible": 7}}',
)  # fmt: skip


@st.composite
def damaged_values(draw: st.DrawFn, content: dict[Any, Any]) -> dict[Any, Any]:
    """What a checkpoint holds, with up to three entries that are others, gone or renamed."""
    changed = {"": copy.deepcopy(content)}
    values = st.sampled_from((*_ODD_VALUES, *_odd_tensors()))
    for _ in range(draw(st.integers(0, 3))):
        container, key = draw(st.sampled_from(list(_places(changed))))
        kind = draw(st.sampled_from(("replace", "replace", "remove", "rename")))
        if kind == "remove" and container is not changed:
            del container[key]
        elif kind == "rename" and isinstance(container, dict) and container is not changed:
            container[draw(st.sampled_from((1, None, "", "\ud800", "weights", "module.x", "norm.bias")))] = (
                container.pop(key)
            )
        else:
            container[key] = copy.deepcopy(draw(values))  # not a container that is in it already
    found: dict[Any, Any] = changed[""]
    return found
