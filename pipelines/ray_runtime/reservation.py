"""The room that a run's workers have reserved on a cluster: free again once the run is lost.

Ray Train frees what a lost controller has reserved by asking the cluster's dashboard whether it
lives, and a local cluster has none (`findings/ray_train_lost_controller.sh`): the next run would
wait for ever.
"""

from pathlib import Path

import ray
from ray.util import get_current_placement_group, remove_placement_group
from ray.util.placement_group import PlacementGroup

from pipelines.files import write

_FILE = "reservation.txt"


def note_reservation(run: Path) -> None:
    """Write down, in a run's folder, what this worker's own run has reserved."""
    if (group := get_current_placement_group()) is not None:
        write(run / _FILE, group.id.hex())


def free_reservation(run: Path) -> None:
    """Free what a run's lost workers had reserved, if this cluster knows it."""
    file = run / _FILE
    if not file.exists():
        return
    known = ray.util.placement_group_table()
    if (name := file.read_text()) in known:
        remove_placement_group(PlacementGroup(ray.PlacementGroupID(bytes.fromhex(name))))
    file.unlink()
