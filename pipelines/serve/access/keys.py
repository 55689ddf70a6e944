"""API keys: several, told apart by a short digest, replaced without a restart."""

import hashlib
import hmac
import logging
import os

from pipelines.serve.settings import AccessConfig

log = logging.getLogger(__name__)


class ApiKeys:
    """The keys of an environment variable and of a file, which is read again when it changes."""

    def __init__(self, config: AccessConfig) -> None:
        self._file = config.keys_file
        self._of_environment = _digests(os.environ.get(config.keys_env, "").split(","))
        self._of_file: list[bytes] = []
        self._seen: tuple[int, int] | None = None

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
                self._of_file = _digests(self._file.read_text().splitlines())
                self._seen = seen
        except OSError as error:
            log.warning("the keys of %s cannot be read, those before hold: %s", self._file, error)


def _digests(keys: list[str]) -> list[bytes]:
    return [hashlib.sha256(key.strip().encode()).digest() for key in keys if key.strip()]
