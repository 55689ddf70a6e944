"""Files that are either whole or not there, and names in files of weights."""

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# in the names of what stands beside weights that are stored scaled: ComfyUI's fp8, bitsandbytes
QUANTISED_NAMES = (
    r"scale_weight|scale_input|weight_scale|input_scale|scaled_fp8|comfy_quant|absmax|"
    r"quant_(?:map|state)"
)


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; at the end of the `with` it takes the other's place.

    Whatever raises inside leaves `path` as it was. The file may be read by whom the process's umask
    lets read, whatever the writer has made of it. Raises OSError that names `path` where the disk
    is full.
    """
    partial = path.with_name(path.name + ".part")
    try:
        partial.unlink(missing_ok=True)
        partial.touch()
        mode = stat.S_IMODE(partial.stat().st_mode)  # as the umask has it
        partial.unlink()
        yield partial
        partial.chmod(mode)
        partial.replace(path)
    except Exception as error:
        number = _disk_full(error)
        if number is None:
            raise
        raise OSError(number, os.strerror(number), str(path)) from error
    finally:
        partial.unlink(missing_ok=True)


def _disk_full(error: Exception) -> int | None:
    """Return the number with which the system says that a disk, or what a user may have of it, is
    full; safetensors' own exception has it in its text. None for any other error.
    """
    said = re.search(r"\(os error (\d+)\)", str(error))
    number = int(said[1]) if said else getattr(error, "errno", None)
    return number if number in (errno.ENOSPC, errno.EDQUOT) else None
