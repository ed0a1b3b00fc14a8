"""Top-1 and top-5 accuracy."""

import torch

from re2tal.experiments.finetuning import accuracy


def test_accuracy_is_that_of_sorted_scores() -> None:
    scores, labels = torch.randn(200, 12), torch.randint(0, 12, (200,))
    order = scores.argsort(1, descending=True).tolist()
    found = accuracy(scores, labels)
    for count, share in ((1, found.top1), (5, found.top5)):
        assert share == sum(label in best[:count] for label, best in zip(labels.tolist(), order, strict=True)) / 200


def test_scores_that_say_nothing_are_worth_nothing() -> None:
    labels = torch.arange(8)
    assert accuracy(torch.zeros(8, 8), labels).top5 == 0
    assert accuracy(torch.full((8, 8), torch.nan), labels).top5 == 0


def test_with_few_classes_the_right_one_is_among_the_five_best() -> None:
    assert accuracy(torch.randn(9, 4), torch.randint(0, 4, (9,))).top5 == 1
