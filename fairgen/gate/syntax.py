"""The signs of other tools in a prompt: weights, adapters, wildcards and choices.

A diffusers pipeline reads all of them as plain text: "(doctor:1.3)" weighs nothing, "<lora:old:1>"
loads nothing and "{red|blue}" chooses nothing.
"""

import re

_LONGEST = 300  # characters of one sign
_INSIDE = rf"[^()]{{0,{_LONGEST}}}"
_SIGNS = re.compile(
    "|".join(
        (
            rf"<[a-zA-Z]+:[^<>\n]{{1,{_LONGEST}}}>",  # <lora:name:0.8>
            rf"\({_INSIDE}:\s?-?\d+(?:\.\d+)?\s?\)",  # (doctor:1.3)
            rf"\({{2,9}}{_INSIDE}\){{2,9}}",  # ((doctor))
            r"\([^()\n]{1,100}\)[+-]*\d+(?:\.\d+)?(?![\w.])",  # (doctor)1.3
            rf"\[{{1,9}}[^\[\]\n]{{1,{_LONGEST}}}\]{{1,9}}",  # [doctor], [doctor:nurse:0.5]
            rf"\{{{{1,9}}[^{{}}\n]{{1,{_LONGEST}}}\}}{{1,9}}",  # {red|blue}, {{doctor}}
            r"(?<!\w)__[\w/*-]{1,80}__(?!\w)",  # __season__
            r"\b[a-zA-Z]{2,40}(?:\+\+|--)[+-]{0,9}(?=[\s,.)]|$)",  # doctor++
            r"(?<!\S)--[a-z]+(?:[ =][\w.:]+)?",  # --ar 16:9
            r"::-?\d+(?:\.\d+)?",  # doctor::2
            r"\b(?:BREAK|AND|ADDCOMM|ADDBASE|ADDCOL|ADDROW)\b",
        )
    )
)
_ADAPTERS = re.compile(rf"<[a-zA-Z]+:[^<>\n]{{1,{_LONGEST}}}>")
_FLAGS = re.compile(r"(?<!\S)--[a-z]+(?:[ =][\w.:]+)?|::-?\d+(?:\.\d+)?")
_SEPARATORS = re.compile(r"\b(?:BREAK|ADDCOMM|ADDBASE|ADDCOL|ADDROW)\b")


def foreign_signs(prompt: str) -> tuple[str, ...]:
    """Return what another tool gives a meaning in a prompt and a diffusers pipeline reads as text,
    in its order; capitals alone, as in "BREAK", mean nothing in a prompt that has no others.
    """
    signs = [match[0].strip() for match in _SIGNS.finditer(prompt)]
    return tuple(sign for sign in signs if not (sign.isalpha() and prompt.isupper()))


def without_signs(prompt: str) -> str:
    """Return a prompt without the names of adapters, flags and separators; words that another tool
    weighs or chooses from are read like any others.
    """
    prompt = _FLAGS.sub(" ", _ADAPTERS.sub(" ", prompt)).replace("|", ",")
    return prompt if prompt.isupper() else _SEPARATORS.sub(".", prompt)
