"""Shapes of traffic: who asks for what, one picture a request, and what is lost on the way."""

import random
from dataclasses import dataclass, replace

_JOBS = (
    "doctor", "nurse", "pilot", "chef", "judge", "teacher", "farmer", "soldier", "lawyer",
    "plumber", "dentist", "barber", "tailor", "butcher", "baker", "painter", "carpenter",
    "electrician", "engineer", "scientist", "librarian", "cashier", "roofer", "mechanic",
    "firefighter", "photographer", "journalist", "architect", "pharmacist", "accountant",
    "gardener", "florist", "welder", "potter", "miner", "optician", "surgeon", "psychologist",
    "programmer", "receptionist", "translator", "veterinarian", "bartender", "courier",
    "musician", "dancer", "coach", "sailor", "janitor", "secretary",
)  # fmt: skip
_DOCTORS = (
    ("en", "a photo of a doctor"), ("es", "una foto de un médico"),
    ("de", "ein Foto von einem Arzt"), ("fr", "une photo d'un médecin"),
    ("pt", "uma foto de um médico"), ("it", "una foto di un medico"),
    ("zh", "一张医生的照片"), ("ja", "医者の写真"),
)  # fmt: skip
_SCENES = ("at work", "in a garden", "by a window", "in the rain", "on a bridge", "in a kitchen",
           "at night", "in the snow", "in a library", "on a train")  # fmt: skip
_LIGHTS = ("soft light", "backlit", "film grain", "watercolour", "wide angle", "black and white",
           "oil painting", "close-up", "golden hour", "pencil sketch")  # fmt: skip


@dataclass(frozen=True)
class Request:
    """One picture that somebody asks for; `num_lost` tries of it end without a picture, and with
    `gives_up` no other comes after them.
    """

    prompt: str
    person: str = "doctor"
    caller: str = "somebody"
    num_lost: int = 0
    gives_up: bool = False


def one_prompt(num: int) -> list[Request]:
    """Return one prompt, again and again."""
    return [Request("a photo of a doctor")] * num


def one_person(num: int, person: str = "doctor") -> list[Request]:
    """Return prompts about one person that all differ."""
    return [Request(f"a photo of a {person} {_wording(index)}", person) for index in range(num)]


def many_persons(num: int, rng: random.Random) -> list[Request]:
    """Return a fifth of `num` different prompts about each of 50 persons, in any order."""
    asked = [
        Request(f"a photo of a {job} {_wording(index)}", person=job)
        for job in _JOBS
        for index in range(num // 5)
    ]
    rng.shuffle(asked)
    return asked


def long_tail(num: int, rng: random.Random) -> list[Request]:
    """Return prompts of which few are frequent and most are rare, as Zipf has it."""
    prompts = [(job, f"a photo of a {job} {_wording(i)}") for i in range(4) for job in _JOBS]
    weights = [1 / rank for rank in range(1, len(prompts) + 1)]
    drawn = rng.choices(prompts, weights, k=10 * num)
    return [Request(prompt, person=job) for job, prompt in drawn]


def callers(num: int, rng: random.Random) -> list[Request]:
    """Return what 20 callers ask for, 64 of 100 pictures each, prompts all different."""
    asked = []
    for index in range(64 * num // 100):
        for who in range(20):
            job = rng.choice(_JOBS)
            prompt = f"a photo of a {job} {_wording(20 * index + who)}"
            asked.append(Request(prompt, job, f"caller {who}"))
    rng.shuffle(asked)
    return asked


def languages(num: int) -> list[Request]:
    """Return prompts about a doctor in eight languages by turns, all different; each language's
    word for it is a person of its own.
    """
    doctors = [_DOCTORS[index % len(_DOCTORS)] for index in range(num)]
    return [Request(f"{text}, {index}", code) for index, (code, text) in enumerate(doctors)]


def _wording(index: int) -> str:
    """Return the index-th way to go on after a person."""
    where, light = _SCENES[index % 10], _LIGHTS[index // 10 % 10]
    return f"{where}, {light}" + (f", take {index // 100 + 1}" if index >= 100 else "")


def lost_at_random(requests: list[Request], share: float, rng: random.Random) -> list[Request]:
    """Return requests of which a share is given up."""
    return [replace(request, gives_up=rng.random() < share) for request in requests]


def sent_again(requests: list[Request], rng: random.Random) -> list[Request]:
    """Return requests of which a third is lost once or twice, and sent again each time."""
    return [
        replace(request, num_lost=rng.choice((1, 2)) if rng.random() < 1 / 3 else 0)
        for request in requests
    ]
