"""OpenAI error objects: every refusal has a status, a type, and the field that it is about."""

import re
from typing import Any

from fastapi.responses import JSONResponse
from pydantic import BaseModel

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "invalid_request_error",
    405: "invalid_request_error",
    408: "timeout_error",
    413: "invalid_request_error",
    431: "invalid_request_error",
    429: "rate_limit_error",
    503: "server_error",
}


_FIELD = re.compile(r"[\w.-]+(, ?[\w.-]+)*")  # a cell of a joint table has commas
_ASKED_AS = {"num_steps": "num_inference_steps"}


class ErrorObject(BaseModel):
    """What was wrong, and with which field."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """The answer to a request that is refused or fails."""

    error: ErrorObject


class RequestError(Exception):
    """A request that is refused: `param` names the field, the message says what is allowed."""

    def __init__(
        self,
        status: int,
        message: str,
        param: str | None = None,
        code: str | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code
        self.retry_after_s = retry_after_s

    def __reduce__(self) -> tuple[Any, ...]:
        """Cross a process border whole."""
        return type(self), (self.status, self.message, self.param, self.code, self.retry_after_s)

    def body(self) -> dict[str, Any]:
        """Return the error object."""
        error = ErrorObject(
            message=self.message,
            type=_TYPES.get(self.status, "server_error"),
            param=self.param,
            code=self.code,
        )
        return ErrorBody(error=error).model_dump()

    def response(self) -> JSONResponse:
        """Return the error as an HTTP response."""
        headers = {"Retry-After": str(self.retry_after_s)} if self.retry_after_s else None
        return JSONResponse(self.body(), status_code=self.status, headers=headers)


def refused_field(error: ValueError) -> RequestError:
    """Return a 400 from the method's own errors, which begin with the field: "gates: got ...".

    A field of the engine is named as the request has it.
    """
    message = str(error)
    field, separator, rest = message.partition(":")
    if field in _ASKED_AS:
        field = _ASKED_AS[field]
        message = f"{field}:{rest}"
    param = field if separator and _FIELD.fullmatch(field) else None
    return RequestError(400, message, param=param, code="invalid_value")
