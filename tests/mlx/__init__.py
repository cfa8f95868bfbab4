"""Real MLX servers on Linux's CPU, with tiny models of random weights that are made here: `make test-mlx`. Without the
packages everything is skipped."""
