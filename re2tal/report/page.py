"""Contents -> one HTML file that needs nothing else.

Names and ids come from files of others. In the markup the template engine escapes them; the data stand in a script
element as JSON without a character that HTML knows; and a policy in the page's head lets the browser run no script and
load no address but the page's own.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from re2tal.common.atomic import atomic_path

__all__ = ["inline_json", "render", "render_still", "write_text"]

_SCRIPTS = ("data.js", "charts.js", "tables.js", "player.js", "timeline.js", "videos.js", "main.js")
_POLICY = (
    "default-src 'none'; script-src {scripts}; style-src {styles}; media-src 'self' file: blob: data:; "
    "img-src data:; base-uri 'none'; form-action 'none'"
)


def render(context: Mapping[str, Any], *, payload: Mapping[str, Any]) -> str:
    """The page.

    Args:
        context: what the template shows.
        payload: what the scripts work on, as JSON values.
    """
    style, first_script = _read("page.css"), _read("theme.js")
    script = "\n".join(_read(name) for name in _SCRIPTS)
    policy = _POLICY.format(scripts=f"{_hash(first_script)} {_hash(script)}", styles=_hash(style))
    return (
        _environment()
        .get_template("page.html")
        .render(
            **context,
            policy=policy,
            style=Markup(style),
            first_script=Markup(first_script),
            script=Markup(script),
            payload=inline_json(payload),
        )
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
