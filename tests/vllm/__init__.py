"""A real vLLM server on a CPU, with a tiny model of random weights that is made here: `make test-vllm`. Without it
everything is skipped."""
