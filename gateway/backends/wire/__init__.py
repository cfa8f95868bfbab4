"""What the OpenAI-speaking kinds are built from: bodies, refusals, media, and the request as such a server wants it."""
