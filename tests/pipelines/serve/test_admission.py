"""No caller takes all of the queue."""

import pytest

from pipelines.serve.access.errors import RequestError
from pipelines.serve.admission import Admission, Admitted


def fill(admission: Admission, caller: str, work: float) -> list[Admitted]:
    """Queue requests of a caller until one is refused."""
    found = []
    while True:
        try:
            found.append(admission.enter(caller, work))
        except RequestError as error:
            assert error.status == 429 and error.retry_after_s and error.retry_after_s >= 1
            return found


@pytest.mark.parametrize("work", [1, 7, 64])
def test_a_caller_holds_three_quarters_at_most_and_others_find_room(work: float) -> None:
    admission = Admission(512)
    assert len(fill(admission, "greedy", work)) == 384 // work
    for other in range(3):
        assert fill(admission, f"other {other}", 1)


def test_the_largest_request_is_let_in_alone() -> None:
    admission = Admission(512)
    admitted = admission.enter("a", 64 * 100 / 12)
    with pytest.raises(RequestError, match="384 of them yours"):
        admission.enter("a", 1)
    admitted.leave()
    admitted.leave()
    admission.enter("a", 384)


def test_work_that_has_left_makes_room() -> None:
    admission = Admission(512)
    for admitted in fill(admission, "a", 1):
        admitted.leave()
    assert len(fill(admission, "a", 1)) == 384
