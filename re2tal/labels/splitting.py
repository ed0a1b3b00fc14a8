"""Training and validation, the same every time, with every group on one side and the classes in like shares."""

import hashlib
from collections import Counter
from collections.abc import Mapping

__all__ = ["split_groups"]


def split_groups(groups: Mapping[str, Counter[str]], *, share: float, seed: int) -> frozenset[str]:
    """The groups to validate on.

    Iterative stratification (Sechidis, Tsoumakas and Vlahavas, "On the Stratification of Multi-Label Data", 2011) of
    groups in place of samples: the class that is left in the fewest annotations is shared out first, each of its groups
    to the side that lacks it most. A class of one group goes to training. Groups without annotations come last. Then
    a class of several groups that one side lacks gets one there, where no class has to leave the other side for it.

    Args:
        groups: annotations of each class, by group.
        share: of the annotations that validation is to have, in [0, 1].
        seed: orders groups that are otherwise alike.

    Returns:
        None of them if `share` is 0 or there is one group; else at least one, and never all.
    """
    if share <= 0 or len(groups) < 2:
        return frozenset()
    order = sorted(groups, key=lambda name: (-groups[name].total(), _hash(name, seed)))
    totals: Counter[str] = sum(groups.values(), Counter())
    lacking = {label: [(1 - share) * count, share * count] for label, count in totals.items()}
    room = [(1 - share) * len(groups), share * len(groups)]
    sides: dict[str, int] = {}

    def place(name: str, side: int) -> None:
        sides[name] = side
        room[side] -= 1
        for label, count in groups[name].items():
            lacking[label][side] -= count

    left: Counter[str] = Counter(totals)
    while left:
        label = min(left, key=lambda item: (left[item], item))
        for name in [name for name in order if name not in sides and groups[name][label]]:
            training, validation = lacking[label]
            place(name, int((validation, room[1]) > (training, room[0])))
            left.subtract(groups[name])
        left = Counter({item: count for item, count in left.items() if count > 0 and item != label})
    for name in order:
        if name not in sides:
            place(name, int(room[1] > room[0]))
    chosen = [name for name in order if sides[name]]
    if not chosen:  # the smallest, which takes least from training
        chosen = order[-1:]
    return _with_all_classes(groups, frozenset(chosen if len(chosen) < len(order) else chosen[1:]))


def _with_all_classes(groups: Mapping[str, Counter[str]], chosen: frozenset[str]) -> frozenset[str]:
    """`chosen`, changed so that both sides show every class that they can."""
    shown_by = {
        label: sorted(name for name, counts in groups.items() if counts[label])
        for label in sum(groups.values(), Counter())
    }
    for names in sorted(shown_by.values(), key=lambda names: (len(names), names)):
        for side in (chosen, frozenset(groups) - chosen):
            if side.isdisjoint(names):
                other = frozenset(groups) - side
                movable = [
                    name for name in names if all(not other.isdisjoint({*shown_by[c]} - {name}) for c in groups[name])
                ]
                if movable:
                    chosen ^= {min(movable, key=lambda name: (groups[name].total(), name))}
    return chosen


def _hash(name: str, seed: int) -> str:
    return hashlib.sha256(f"{seed}\0{name}".encode()).hexdigest()
