"""The progress view: plain lines where nobody watches, bars in a terminal."""

import io
from concurrent.futures import Future

import pytest
import ray
from rich.console import Console

from pipelines.ray_runtime.progress import ProgressView, open_progress_actor, watch


def test_plain_lines_where_there_is_no_terminal() -> None:
    out = io.StringIO()
    with ProgressView(Console(file=out)).open() as view:
        for done in range(101):
            view.show("gender", done, 100, "loss 0.5")
    assert out.getvalue().splitlines() == ["gender: 0/100 loss 0.5", "gender: 100/100 loss 0.5"]


def test_bars_in_a_terminal() -> None:
    out = io.StringIO()
    with ProgressView(Console(file=out, force_terminal=True, width=100)).open() as view:
        view.show("gender", 3, 100, "loss 0.5")
        view.show("age", 7, 100, "loss 0.4")
    assert "3/100" in out.getvalue()
    assert "7/100" in out.getvalue()


@pytest.mark.ray
def test_watching_shows_what_jobs_posted_last(cluster: None) -> None:
    board, out = open_progress_actor(), io.StringIO()
    ray.get(board.post.remote("gender", {"step": 6.0, "loss": 0.25}))
    done: Future[None] = Future()
    done.set_result(None)
    with ProgressView(Console(file=out)).open() as view:
        watch(board, {"gender": 6}, [done], view)
    assert out.getvalue().splitlines() == ["gender: 6/6 loss 0.2500"]
