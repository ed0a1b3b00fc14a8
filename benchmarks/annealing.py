"""Whether a pretrained network that is rewired is worth more when Dr2Net's coefficients lead from the one to the other.

    python benchmarks/annealing.py [--steps 200] [--seeds 3] [--json]

A small plain Video Swin learns from scratch to tell five kinds of motion apart in rendered clips. With its
weights, the rewired network is fine-tuned on other clips of the same classes in two ways: as Re2TAL at once, and by
coefficients that go from the plain network's side to Re2TAL's in the first half. Printed: accuracy on unseen clips, of
the plain network, of the rewired one before it is trained, and in the course of the fine-tuning. Random classifiers of
five classes are right in 20 %.
"""

import argparse
import copy
import json
import statistics
import sys
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from re2tal.backbones import SwinConfig, SwinTrunk
from re2tal.data.demo.motion import CLASSES, TICKS, Event, Script
from re2tal.data.demo.render import render
from re2tal.reversible import rewire, set_coefficients
from re2tal.training.annealing import annealed

FRAMES, SIZE = 32, 32
NAMES = sorted(CLASSES)
NETWORK = SwinConfig(
    embed_dim=32,
    depths=(2, 6),
    num_heads=(2, 4),
    patch_size=(2, 4, 4),
    window_size=(8, 4, 4),
    drop_path=0.0,
    fresh_weights="by_width",
)


class Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = SwinTrunk(NETWORK)
        self.head = nn.Linear(NETWORK.out_channels, len(NAMES))

    def forward(self, clips: Tensor) -> Tensor:
        """(B, 3, T, H, W) uint8 -> (B, K)."""
        (features,) = self.backbone(clips)
        return self.head(features.mean((2, 3, 4)))


def film(label: int, rng: np.random.Generator) -> list[Tensor]:
    """Four clips (3, T, H, W) uint8 of one video, in which one shape does what the class says all the time."""
    event = Event(start=0.0, end=float(TICKS), shape=0, name=NAMES[label])
    frames = render(Script(actions=(event,), distractors=()), num_frames=TICKS, rng=rng)
    pixels = F.avg_pool2d(torch.from_numpy(frames).permute(3, 0, 1, 2).float(), 2).round().to(torch.uint8)
    return list(pixels.split(FRAMES, dim=1))


def clips(count: int, *, seed: int) -> tuple[Tensor, Tensor]:
    """(N, 3, T, H, W) and (N,) classes."""
    rng = np.random.default_rng(seed)
    labels = [index % len(NAMES) for index in range(count // 4)]
    films = [clip for label in labels for clip in film(label, rng)]
    return torch.stack(films), torch.tensor(labels).repeat_interleave(4)


Clips = tuple[Tensor, Tensor]


def train(
    model: nn.Module,
    data: Clips,
    *,
    steps: int,
    rate: float,
    seed: int,
    before_step: Callable[[int], None] = lambda step: None,
) -> None:
    """AdamW, a linear warm-up and a cosine, batches of 16."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.1)
    model.train()
    for step in range(steps):
        before_step(step)
        chosen = torch.randint(0, len(data[0]), (16,), generator=generator)
        loss = F.cross_entropy(model(data[0][chosen]), data[1][chosen])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()


@torch.no_grad()
def accuracy(model: nn.Module, data: Clips) -> float:
    model.eval()
    found = torch.cat([model(part).argmax(1) for part in data[0].split(50)])
    model.train()
    return float((found == data[1]).double().mean())


def run(seed: int, *, steps: int, pretraining: int, count: int) -> dict[str, object]:
    torch.manual_seed(seed)
    first, second, test = (clips(n, seed=1000 * seed + k) for k, n in enumerate((count, count // 2, count // 2)))
    plain = Classifier()
    train(plain, first, steps=pretraining, rate=2e-3, seed=seed)
    row: dict[str, object] = {"seed": seed, "plain": accuracy(plain, test)}
    print(row, file=sys.stderr, flush=True)
    for name, start in (("at once", (0.0, 1.0)), ("annealed", (0.75, 0.25))):
        model = copy.deepcopy(plain)
        model.backbone = rewire(model.backbone)
        course: list[float] = []

        def before_step(step: int) -> None:
            alpha, beta = annealed(step, start=start, steps=steps // 2)  # noqa: B023
            set_coefficients(model, alpha=alpha, beta=beta)  # noqa: B023
            if step % max(steps // 4, 1) == 0:
                course.append(accuracy(model, test))  # noqa: B023

        train(model, second, steps=steps, rate=3e-4, seed=seed, before_step=before_step)
        row[name] = [*course, accuracy(model, test)]
        print(name, row[name], file=sys.stderr, flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200, help="of fine-tuning")
    parser.add_argument("--pretraining", type=int, default=1200, help="steps of the plain network")
    parser.add_argument(
        "--clips", type=int, default=1600, help="that it learns from; half as many to fine-tune and test"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print one line of JSON and nothing else")
    args = parser.parse_args()
    rows = [run(seed, steps=args.steps, pretraining=args.pretraining, count=args.clips) for seed in range(args.seeds)]
    if args.json:
        print(json.dumps(rows))
        return
    print("accuracy (%) on unseen clips, before fine-tuning, after each quarter of it")
    for row in rows:
        print(f"seed {row['seed']}: plain network {100 * row['plain']:.1f}")
        for name in ("at once", "annealed"):
            print(f"  {name:<9}", "  ".join(f"{100 * value:5.1f}" for value in row[name]))
    gains = [row["annealed"][-1] - row["at once"][-1] for row in rows]
    print(f"annealed less at once, at the end: {100 * statistics.mean(gains):+.1f} points on average")


if __name__ == "__main__":
    main()
