from .chain import TEST_CHAIN, write_test_chain
from .credentials import CredentialFiles, Credentials, SigningError
from .encoding import OutputFormat, encode, read_record
from .inspection import Inspection, inspect_file

__all__ = [
    "TEST_CHAIN",
    "CredentialFiles",
    "Credentials",
    "Inspection",
    "OutputFormat",
    "SigningError",
    "encode",
    "inspect_file",
    "read_record",
    "write_test_chain",
]
