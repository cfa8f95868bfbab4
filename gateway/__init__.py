"""A routing gateway for mixed fleets of multimodal model servers."""

__version__ = "0.1.0"
