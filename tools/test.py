"""Test an experiment: `python tools/test.py CONFIG --checkpoint CKPT`, or the same under torchrun; see --help."""

from re2tal.cli import test_main

if __name__ == "__main__":
    test_main()
