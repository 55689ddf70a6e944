"""The log of decisions: who asked for how many, what the gate said, what each picture was to show.

No picture is in it and no word of a prompt, which its SHA-256 tells from others.
"""

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from pipelines.serve.image_plan import PlannedImage
from pipelines.serve.schemas import ImageRequest, Provenance


class DecisionLog:
    """One JSON line a request, appended; the file may be moved away at any time."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(
        self,
        caller: str,
        request: ImageRequest,
        orders: Sequence[PlannedImage],
        delivered: Sequence[Provenance],
    ) -> None:
        """Append what was decided for a request, and with which adapters it was delivered."""
        gate = orders[0].gate
        used = {f"{a.name} {a.version}" for provenance in delivered for a in provenance.adapters}
        line = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "caller": caller,
            "prompt_sha256": hashlib.sha256(request.prompt.encode()).hexdigest(),
            "fairness": request.fairness,
            "gate": {name: found.reason for name, found in gate.attributes.items()}
            if gate
            else None,
            "pictures": [
                {"seed": o.seed, "categories": o.categories, "probability": o.probability}
                for o in orders
            ],
            "delivered": len(delivered),
            "flagged": sum(record.safety_checker == "flagged" for record in delivered),
            "adapters": sorted(used),
        }
        with self._path.open("a") as stream:
            stream.write(json.dumps(line) + "\n")
