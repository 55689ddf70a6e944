"""The records inside the endpoint's pictures."""

import json

from fairgen.provenance import read_record
from pipelines.serve.schemas import Provenance


def read_provenance(content: bytes) -> Provenance | None:
    """Return the record inside a picture's file, None where there is none."""
    record = read_record(content)
    return None if record is None else Provenance.model_validate_json(json.dumps(record))
