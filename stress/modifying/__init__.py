"""Small residual networks, what people do to them, and whether they still compute the same when they are rewired."""
