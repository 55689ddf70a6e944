"""API keys: several, told apart by a short digest, replaced without a restart."""

import hashlib
import hmac
import ipaddress
import logging
import os
import re
from collections.abc import Iterable

from pipelines.serve.settings import AccessConfig

log = logging.getLogger(__name__)
_LEAST_CHARS = 16
_REMARK = re.compile(r"(^|\s)#.*")


class ApiKeys:
    """The keys of an environment variable and of a file, which is read again when it changes.

    In a file a line is a key; # begins a remark, at its begin or behind the key and a space. A key
    has 16 characters or more.
    """

    def __init__(self, config: AccessConfig) -> None:
        """Raises ValueError where keys are asked for and none can be used."""
        self._file = config.keys_file
        given = os.environ.get(config.keys_env)
        self._of_environment = _digests((given or "").split(","), config.keys_env)
        if given is not None and not self._of_environment:
            raise ValueError(
                f"{config.keys_env}: got no key of {_LEAST_CHARS} characters or more, allowed are "
                "some, separated by commas; without keys it is not set at all"
            )
        self._of_file: list[bytes] = []
        self._seen: tuple[int, int] | None = None
        self._failure = ""

    @property
    def locked(self) -> bool:
        """Whether a key is wanted: where there is one, or a file that should hold some."""
        return bool(self._of_environment) or self._file is not None

    def caller(self, given: str) -> str | None:
        """Return the name of a key, eight digits of its SHA-256; None for an unknown one.

        Every known key is compared, in a time that tells nothing of them.
        """
        self._look_again()
        digest = hashlib.sha256(given.encode()).digest()
        known = [hmac.compare_digest(digest, key) for key in self._of_environment + self._of_file]
        return digest.hex()[:8] if any(known) else None

    def _look_again(self) -> None:
        """Read the file where it has changed; while it cannot be read, the keys of before hold."""
        if self._file is None:
            return
        try:
            found = self._file.stat()
            if (seen := (found.st_mtime_ns, found.st_size)) != self._seen:
                lines = self._file.read_text("utf-8-sig").splitlines()
                self._seen, self._of_file = seen, _digests(lines, self._file)
            self._failure = ""
        except (OSError, UnicodeDecodeError) as error:
            if str(error) != self._failure:  # said once, not at every request
                log.warning(
                    "the keys of %s cannot be read, those before hold: %s", self._file, error
                )
            self._failure = str(error)


def check_open(access: AccessConfig, host: str, is_open: bool) -> None:
    """Raise ValueError where an address beyond this machine would be open to everybody, and nobody
    has said that it shall be.
    """
    if not (ApiKeys(access).locked or is_open or is_loopback(host)):
        raise ValueError(
            f"host: got {host} without API keys, so that everybody who reaches it may ask; allowed "
            f"are keys ({access.keys_env}, --keys-file), 127.0.0.1, or --open"
        )


def is_loopback(host: str) -> bool:
    """Return whether an address is reached from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _digests(keys: Iterable[str], source: object) -> list[bytes]:
    found = [key for key in (_REMARK.sub("", given).strip() for given in keys) if key]
    if short := sum(len(key) < _LEAST_CHARS for key in found):
        log.warning("%s: %d keys have fewer than %d characters and open nothing",
                    source, short, _LEAST_CHARS)  # fmt: skip
    return [hashlib.sha256(key.encode()).digest() for key in found if len(key) >= _LEAST_CHARS]
