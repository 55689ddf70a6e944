"""Answers of an MLflow server that break off on their way."""

from typing import Any

from mlflow.utils import request_utils
from requests import PreparedRequest, Response
from requests.exceptions import ChunkedEncodingError, ConnectionError
from requests.utils import rewind_body
from urllib3.exceptions import MaxRetryError, ProtocolError

_MLFLOW_ADAPTER = request_utils.TCPKeepAliveHTTPAdapter


class WholeAnswers(_MLFLOW_ADAPTER):  # type: ignore[valid-type, misc]
    """Sends a request of mlflow's again where its answer breaks off, as often and as patiently as
    mlflow does where the server is away.

    mlflow has urllib3 ask again, but requests reads an answer's body only when urllib3 has handed
    the answer on: a server that dies between head and body is asked once (requests 2.34, issue
    5948).
    """

    def send(self, request: PreparedRequest, *arguments: Any, **options: Any) -> Response:
        """Return the answer to a request, its body read: a file's, too, which mlflow would stream.
        Adapters are small. Raises what requests raises, where the tries are used up the last one's
        error.
        """
        retries = self.max_retries
        while True:
            answer: Response = super().send(request, *arguments, **options)
            try:
                _ = answer.content
                return answer
            except (ChunkedEncodingError, ConnectionError) as error:
                try:
                    retries = retries.increment(
                        request.method, request.url, error=ProtocolError(error)
                    )
                except MaxRetryError:
                    raise error from None
            retries.sleep()
            if hasattr(request.body, "read"):
                rewind_body(request)


def read_whole_answers() -> None:
    """Have all of mlflow's requests sent so, in this process, that are made from now on."""
    request_utils.TCPKeepAliveHTTPAdapter = WholeAnswers
