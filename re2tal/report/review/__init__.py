"""A page on which people correct what was detected, or label from nothing, and the server behind it."""

from re2tal.report.review.address import open_address
from re2tal.report.review.errors import ReviewError
from re2tal.report.review.journal import Journal
from re2tal.report.review.material import Material, read_material
from re2tal.report.review.server import HOST, PageSettings, listen, review_app, serve
from re2tal.report.review.session import ReviewSession
from re2tal.report.review.state import (
    Content,
    Edit,
    EditConflict,
    Look,
    ReviewSegment,
    VideoState,
    apply_edit,
)

__all__ = [
    "HOST",
    "Content",
    "Edit",
    "EditConflict",
    "Journal",
    "Look",
    "Material",
    "PageSettings",
    "ReviewError",
    "ReviewSegment",
    "ReviewSession",
    "VideoState",
    "apply_edit",
    "listen",
    "open_address",
    "read_material",
    "review_app",
    "serve",
]
