"""Where what ships of the embedded model lies."""

from pathlib import Path

MODEL = Path(__file__).parent / "model"
ADAPTERS = Path(__file__).parent / "adapters"  # gender's, to look at before anything is trained
