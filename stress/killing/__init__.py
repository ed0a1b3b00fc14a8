"""What ends a training at a named point, and what two of its run folders differ in."""
