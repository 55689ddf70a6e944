"""The ledger outlives its process: what was given is on disk before it is given."""

import asyncio
import logging
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import SecretStr

from fairgen.ledger import Ledger, stream_keys
from pipelines.recipe.recipe import Recipe, load_recipe
from pipelines.serve.indicator import Asked, Assignment, Claim, Ended, IndicatorService
from pipelines.serve.ledger_store import Batch, LedgerStore
from pipelines.serve.retries import Retry
from pipelines.serve.settings import ServeSettings
from tests.fairgen.test_ledger import target_of
from tests.pipelines.shared_registry import PASSWORD, postgres

SERVED = {"gender": None, "age": None}
EVEN = {"gender": "uniform", "age": "uniform"}


@pytest.fixture
def recipe(write_recipe: Callable[..., Path]) -> Recipe:
    return load_recipe(write_recipe("kept"))


def ask_for(prompt: str, num_images: int = 1) -> Asked:
    return Asked(prompt, num_images, EVEN, caller="somebody")


def asked(service: IndicatorService, prompt: str, retry: Retry | None = None) -> tuple[str, ...]:
    """Return the categories of one picture, delivered."""

    async def ask() -> tuple[str, ...]:
        found = await service.assign(ask_for(prompt), SERVED, retry)
        await service.note([Ended(found.reservation)])
        return tuple(found.pictures[0].categories.values())

    return asyncio.run(ask())


def prompts(num: int) -> list[str]:
    return [f"a photo of a {('doctor', 'nurse', 'pilot')[i % 3]} {i % 7}" for i in range(num)]


def test_a_ledger_goes_on_where_a_killed_one_stood(recipe: Recipe, tmp_path: Path) -> None:
    whole = IndicatorService(ServeSettings(), recipe)
    expected = [asked(whole, prompt) for prompt in prompts(100)]
    seen = []
    for prompt in prompts(100):
        if len(seen) % 25 == 0:
            service = IndicatorService(ServeSettings(home=tmp_path), recipe)
        seen.append(asked(service, prompt))
    assert seen == expected


def test_what_was_on_its_way_is_taken_by_the_next_try_after_a_kill(
    recipe: Recipe, tmp_path: Path
) -> None:
    def ask(again: bool) -> Assignment:
        service = IndicatorService(ServeSettings(home=tmp_path), recipe)
        asked = service.assign(ask_for("a photo of a judge", 5), SERVED, Retry("body", again))
        return asyncio.run(asked)

    lost = ask(again=False)
    assert ask(again=True) == lost  # its reservation, too
    assert ask(again=False).reservation != lost.reservation


def test_what_is_lost_before_it_is_on_disk_counts_as_it_was_decided(
    recipe: Recipe, tmp_path: Path
) -> None:
    """However often it is said: the answer to who said it may be lost, too."""
    whole = IndicatorService(ServeSettings(), recipe)
    expected = [asked(whole, prompt) for prompt in prompts(60)]
    settings, seen = ServeSettings(home=tmp_path), []

    async def lose(prompts: list[str]) -> None:
        service = IndicatorService(settings, recipe)
        claims = []
        for prompt in prompts:
            found = service.decided(ask_for(prompt), SERVED, Retry(prompt, again=False))
            claims.append(Claim(ask_for(prompt), SERVED, Retry(prompt, again=False), found))
            seen.append(tuple(found.pictures[0].categories.values()))
        for _ in range(2):
            service = IndicatorService(settings, recipe)
            await service.note(claims)
        again = service.decided(ask_for(prompts[0]), SERVED, Retry(prompts[0], again=True))
        assert again == claims[0].assignment
        await service.note([Ended(claim.assignment.reservation) for claim in claims])

    for start in range(0, 60, 20):
        asyncio.run(lose(prompts(60)[start : start + 20]))
    assert seen == expected


def test_what_was_decided_by_other_settings_is_let_go(
    recipe: Recipe, write_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    """An indicator that comes with others does not fail for it."""
    before = IndicatorService(ServeSettings(), recipe)
    wanted = Asked("a photo of a chef", 2, {"age": "uniform"})
    claim = Claim(wanted, SERVED, None, before.decided(wanted, SERVED))
    others = load_recipe(write_recipe("others", only=("gender",)))
    after = IndicatorService(ServeSettings(home=tmp_path), others)
    asyncio.run(after.note([claim]))


def test_targets_that_nothing_counts_for_leave_the_disk(tmp_path: Path) -> None:
    store, ledger = LedgerStore.below(tmp_path, "tables"), Ledger(max_streams=2, recorded=True)
    store.load()
    for share in range(1, 8):
        ledger.assign("a doctor", target_of(share, 9), 1)
        store.save(Batch(ledger.changes()))
    LedgerStore.below(tmp_path, "tables").load()
    with sqlite3.connect(tmp_path / "ledger" / "ledger.sqlite") as database:
        ((left,),) = database.execute("SELECT count(*) FROM fairgen_targets")
    assert left == 2
    kept = LedgerStore.below(tmp_path, "tables").load().streams.values()
    assert {found.target for found in kept if found} == {target_of(6, 9), target_of(7, 9)}


def test_no_word_of_a_prompt_and_no_caller_is_on_disk(recipe: Recipe, tmp_path: Path) -> None:
    asked(IndicatorService(ServeSettings(home=tmp_path), recipe), "a photo of Doctor Wilhelmina")
    content = (tmp_path / "ledger" / "ledger.sqlite").read_bytes().lower()
    assert b"woman" in content
    for word in (b"wilhelmina", b"doctor", b"somebody"):
        assert word not in content


def test_recipes_that_share_a_database_keep_apart(
    write_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    first, second = (load_recipe(write_recipe(name)) for name in ("one", "other"))
    settings = ServeSettings(home=tmp_path)
    seen = [asked(IndicatorService(settings, first), "a photo of a chef") for _ in range(3)]
    for expected in seen:
        assert asked(IndicatorService(settings, second), "a photo of a chef") == expected


def test_who_comes_last_keeps_the_ledger_and_nobody_is_refused(
    recipe: Recipe, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings, prompt = ServeSettings(home=tmp_path), "a photo of a chef"
    old = IndicatorService(settings, recipe)
    asked(old, prompt)
    new = IndicatorService(settings, recipe)
    with caplog.at_level(logging.WARNING):
        assert [asked(old, prompt) for _ in range(3)] == [asked(new, prompt) for _ in range(3)]
    assert caplog.text.count("another indicator keeps the ledger now") == 1
    again = IndicatorService(settings, recipe)
    assert asked(again, prompt) == asked(new, prompt)


@pytest.mark.slow
def test_a_database_that_fails_costs_no_picture_and_no_count(
    recipe: Recipe, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = IndicatorService(ServeSettings(), recipe)
    expected = [asked(whole, prompt) for prompt in prompts(12)]
    service = IndicatorService(ServeSettings(home=tmp_path), recipe)
    seen = [asked(service, prompt) for prompt in prompts(12)[:4]]
    with sqlite3.connect(tmp_path / "ledger" / "ledger.sqlite") as other:
        other.execute("BEGIN EXCLUSIVE")
        found = asyncio.run(service.assign(ask_for(prompts(12)[4]), SERVED))
        seen.append(tuple(found.pictures[0].categories.values()))
    assert "the ledger is not written" in caplog.text
    asyncio.run(service.note([Ended(found.reservation)]))
    seen += [asked(service, prompt) for prompt in prompts(12)[5:8]]
    assert "the ledger is written again" in caplog.text
    service = IndicatorService(ServeSettings(home=tmp_path), recipe)
    seen += [asked(service, prompt) for prompt in prompts(12)[8:]]
    assert seen == expected


@pytest.mark.postgres
def test_postgresql_keeps_it_as_well(recipe: Recipe) -> None:
    whole = IndicatorService(ServeSettings(), recipe)
    expected = [asked(whole, prompt) for prompt in prompts(40)]
    with postgres() as server:
        uri = server.uri("postgres").replace("://mlflow@", f"+psycopg://mlflow:{PASSWORD}@")
        settings, seen = ServeSettings(ledger=SecretStr(uri)), []
        for prompt in prompts(40):
            if len(seen) % 20 == 0:
                service = IndicatorService(settings, recipe)
            seen.append(asked(service, prompt))
    assert seen == expected


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nothing", "ledger: got no address of a database"),
        ("mysql://here/x", r"ledger: got 'mysql', allowed are \['postgresql', 'sqlite'\]"),
        ("sqlite:////nowhere/x", "ledger: got sqlite:////nowhere/x, which cannot be used"),
        ("postgresql+psycopg://me:secret@127.0.0.1:1/x?connect_timeout=2", r"me:\*\*\*@"),
    ],
)
def test_a_database_that_cannot_be_used_is_named_without_its_password(
    recipe: Recipe, url: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message) as found:
        IndicatorService(ServeSettings(ledger=SecretStr(url)), recipe)
    assert "secret" not in str(found.value)


@pytest.mark.parametrize("left_bytes", [3000, 20_000])
def test_a_ledger_that_was_cut_short_is_named_in_a_line(
    left_bytes: int, recipe: Recipe, tmp_path: Path
) -> None:
    settings = ServeSettings(home=tmp_path)
    IndicatorService(settings, recipe)
    file = tmp_path / "ledger" / "ledger.sqlite"
    os.truncate(file, left_bytes)
    with pytest.raises(ValueError, match=rf"^ledger: got .*{file}, which cannot.*$") as found:
        IndicatorService(settings, recipe)
    assert "\n" not in str(found.value)


def test_what_was_quiet_longest_is_forgotten_on_disk_too(recipe: Recipe, tmp_path: Path) -> None:
    store, target = LedgerStore.below(tmp_path, "small"), target_of(1, 1)
    store.load()
    ledger = Ledger(max_streams=3, recorded=True)
    for name in "abcad":
        ledger.assign(name, target, 1)
        store.save(Batch(ledger.changes()))
    kept = LedgerStore.below(tmp_path, "small").load().streams
    assert list(kept) == [stream_keys(name, target)[0] for name in "cad"]
    assert [sum(found.counts) for found in kept.values() if found] == [1, 2, 1]
