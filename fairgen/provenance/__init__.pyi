from .chain import TEST_CHAIN, write_test_chain
from .credentials import CredentialFiles, Credentials, SigningError
from .encoding import OutputFormat, encode, read_record
from .inspection import Inspection, inspect_file
from .mark import LEAST_PX, FoundMark, MarkingError, check_size, find_mark, marked

__all__ = [
    "LEAST_PX",
    "TEST_CHAIN",
    "CredentialFiles",
    "Credentials",
    "FoundMark",
    "Inspection",
    "MarkingError",
    "OutputFormat",
    "SigningError",
    "check_size",
    "encode",
    "find_mark",
    "inspect_file",
    "marked",
    "read_record",
    "write_test_chain",
]
