"""The gateway with a fleet of its own: real llama.cpp servers on this machine, started, watched and stopped here."""
