"""The page of a review: the design and the small parts of the report's page, and scripts of its own."""

from re2tal.report.page import PageParts, render
from re2tal.report.review.session import ReviewSession

__all__ = ["review_page"]

_PARTS = PageParts(
    template="review/page.html",
    styles=("page.css", "review/page.css"),
    scripts=(
        "dom.js",
        "player.js",
        "review/model.js",
        "review/edits.js",
        "review/playing.js",
        "review/layout.js",
        "review/timeline.js",
        "review/pointer.js",
        "review/lists.js",
        "review/keys.js",
        "themes.js",
        "review/main.js",
    ),
    media="'self'",
    connect="'self'",
)
_USUAL_SCORE = 0.3
"""As `re2tal predict` has it for people to read."""
_WANTED = 5
"""Detections of a video to begin with, where hardly any has the usual score."""


def review_page(session: ReviewSession, *, annotator: str, is_default_name: bool, title: str) -> str:
    """The page as it is now; what changes later, it asks for."""
    material = session.material
    payload = {
        "journal": session.journal_id,
        "out": str(session.out),
        "videos": [{"id": name, "seconds": material.seconds_of(name)} for name in session.videos],
        "classes": session.classes,
        "annotators": list(dict.fromkeys([annotator, *session.annotators])),
        "isDefaultName": is_default_name,
        "score": _first_score(session),
        "hasDetections": material.found is not None,
        "suggestions": [stretch.model_dump() for stretch in material.suggestions],
        "notes": material.notes,
        "n": session.num_entries,
    }
    return render({"title": title, "out": str(session.out), "notes": material.notes}, payload=payload, parts=_PARTS)


def _first_score(session: ReviewSession) -> float:
    found = session.material.found
    if found is None or not len(found.scores):
        return _USUAL_SCORE
    if (found.scores >= _USUAL_SCORE).any():
        return _USUAL_SCORE
    best = sorted(found.scores.tolist(), reverse=True)[: _WANTED * max(len(session.videos), 1)]
    return max(round(best[-1] - 0.005, 2), 0.0)
