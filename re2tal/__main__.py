"""`python -m re2tal` is the command `re2tal`."""

from re2tal.cli import main

if __name__ == "__main__":
    main()
