"""What `benchmarks/works_with.py` runs: small networks, tools that train or convert them, and the judgement."""
