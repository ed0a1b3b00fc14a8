"""Contents -> one HTML file that needs nothing else.

Names and ids come from files of others. In the markup the template engine escapes them; the data stand in a script
element as JSON without a character that HTML knows; and a policy in the page's head lets the browser run no script and
load no address but the page's own.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from re2tal.common.atomic import atomic_path

__all__ = ["PageParts", "inline_json", "render", "render_still", "write_text"]

_POLICY = (
    "default-src 'none'; script-src {scripts}; style-src {styles}; media-src {media}; connect-src {connect}; "
    "img-src data:; base-uri 'none'; form-action 'none'"
)


@dataclass(frozen=True, kw_only=True)
class PageParts:
    """The files of a page, below `templates/`, and what it may load."""

    template: str
    styles: tuple[str, ...]
    scripts: tuple[str, ...]
    """In this order, in one scope."""
    media: str
    """Sources of videos, as a content security policy names them."""
    connect: str
    """Addresses that scripts may ask."""


REPORT = PageParts(
    template="page.html",
    styles=("page.css",),
    scripts=(
        "dom.js", "data.js", "charts.js", "tables.js", "player.js", "timeline.js", "videos.js", "themes.js", "main.js",
    ),
    media="'self' file: blob: data:",
    connect="'none'",
)  # fmt: skip


def render(context: Mapping[str, Any], *, payload: Mapping[str, Any], parts: PageParts = REPORT) -> str:
    """The page.

    Args:
        context: what the template shows.
        payload: what the scripts work on, as JSON values.
        parts: which page.
    """
    style, first_script = "\n".join(map(_read, parts.styles)), _read("theme.js")
    script = "\n".join(map(_read, parts.scripts))
    policy = _POLICY.format(
        scripts=f"{_hash(first_script)} {_hash(script)}", styles=_hash(style), media=parts.media, connect=parts.connect
    )
    template = _environment().get_template(parts.template)
    return template.render(
        **context,
        policy=policy,
        style=Markup(style),
        first_script=Markup(first_script),
        script=Markup(script),
        payload=inline_json(payload),
    )


def render_still(template: str, context: Mapping[str, Any]) -> str:
    """A page of the same look that runs no script."""
    style = _read("page.css")
    policy = f"default-src 'none'; style-src {_hash(style)}; img-src data:; base-uri 'none'; form-action 'none'"
    return _environment().get_template(template).render(**context, policy=policy, style=Markup(style))


def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("re2tal.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def inline_json(value: Any) -> Markup:
    """`value` for a script element: ASCII, and nothing in it can end the element or begin a comment."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))


def write_text(path: Path, text: str) -> int:
    """Write a page, whole or not at all; returns its size in bytes.

    Half of a surrogate pair, which JSON files may hold, has no place in UTF-8; it becomes a reference that browsers
    show as an unknown character.
    """
    content = text.encode("utf-8", errors="xmlcharrefreplace")
    with atomic_path(path) as unfinished:
        unfinished.write_bytes(content)
    return len(content)


def _read(name: str) -> str:
    return (files("re2tal.report") / "templates" / name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    digest = hashlib.sha256(content.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"
