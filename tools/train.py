"""Train an experiment: `python tools/train.py CONFIG`, or the same under torchrun; --help lists the options."""

from re2tal.cli import train_main

if __name__ == "__main__":
    train_main()
