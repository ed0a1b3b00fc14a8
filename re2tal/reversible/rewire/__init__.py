"""Make the residual chains of an existing network reversible, in place."""
