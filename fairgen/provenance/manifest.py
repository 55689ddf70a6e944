"""The Content Credentials of a picture: who has made it, how, and its record."""

import datetime
from collections.abc import Mapping
from typing import Any

from fairgen.provenance.xmp import source_type, version

ACTIONS, RECORD = "c2pa.actions", "org.fairgen.provenance"


def manifest_of(
    record: Mapping[str, Any] | None, media_type: str, is_marked: bool, is_edit: bool = False
) -> dict[str, Any]:
    """Return a C2PA manifest definition: the picture was created by a trained model, or from
    another picture and by one, with its record, and bears an invisible mark where it does.

    The signer states all of it (C2PA's created assertions); `when` is the signer's own clock.
    """
    agent = {"name": "FairGen", "version": version()}
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    actions: list[dict[str, Any]] = [
        {
            "action": "c2pa.created",
            "when": now,
            "softwareAgent": agent,
            "digitalSourceType": source_type(is_edit),
        }
    ]
    if is_marked:
        actions.append({"action": "c2pa.watermarked.unbound", "softwareAgent": agent})
    assertions = [{"label": ACTIONS, "created": True, "data": {"actions": actions}}]
    title = "A picture of FairGen"
    if record is not None:
        title = f"{record.get('model', 'FairGen')}, seed {record.get('seed')}"
        assertions.append({"label": RECORD, "created": True, "data": dict(record)})
    return {
        "claim_generator_info": [agent],
        "title": title,
        "format": media_type,
        "assertions": assertions,
    }
