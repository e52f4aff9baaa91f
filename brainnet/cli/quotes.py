"""Quotes in overrides: put where Hydra's grammar wants them, so that nobody has to type them."""

import re

QUOTES = "'\""
# What Hydra's grammar takes without quotes; of letters, English ones alone.
_KNOWN = re.compile(r"[A-Za-z0-9_/\-\\+.$%*@?|: \t]*")
_ESCAPED = re.compile(r"\\[\\()\[\]{}:=, \t]")
_ENDS = ",[](){}="


def readable(word: str) -> str:
    """An override as Hydra reads it: what holds letters of any language or other signs is quoted.

    What is quoted, escaped or refers to something else stays as it was typed.

    Example:
        >>> print(readable("data.drop=[Größe, Nr]"))
        data.drop=["Größe", Nr]
        >>> print(readable("data.target=prix d'été"))
        data.target="prix d'été"
        >>> print(readable('name="über"'), readable("seed=1"))
        name="über" seed=1
    """
    key, sign, value = word.partition("=")
    if not sign or "${" in value or _ESCAPED.search(value):
        return word
    done, depth = "", 0
    while value:
        if value[0] in _ENDS or (value[0] == ":" and depth):
            depth += {"{": 1, "}": -1}.get(value[0], 0)
            done, value = done + value[0], value[1:]
            continue
        part = _part(value, _ENDS + ":" * (depth > 0))
        done, value = done + _quoted(part), value[len(part) :]
    return f"{key}={done}"


def bare(value: str) -> str:
    """A value without the quotes that Hydra's grammar would take off.

    Example:
        >>> bare('"my runs"'), bare("my runs"), bare("'")
        ('my runs', 'my runs', "'")
    """
    closed = len(value) > 1 and value[0] == value[-1] and value[0] in QUOTES
    return value[1:-1].replace(f"\\{value[0]}", value[0]) if closed else value


def _part(value: str, ends: str) -> str:
    """What comes before the next sign of the grammar; a part in quotes as a whole."""
    begun = value.lstrip()
    if begun[:1] in QUOTES and (quoted := re.match(r"\s*(['\"])(?:.*?[^\\])??\1\s*", value)):
        return quoted.group()
    plain = re.match(f"[^{re.escape(ends)}]*", value)
    return plain.group() if plain else value


def _quoted(part: str) -> str:
    text = part.strip()
    if _KNOWN.fullmatch(text) or text[0] in QUOTES or text.endswith("\\"):
        return part
    escaped = text.replace('"', '\\"')
    return part.replace(text, f'"{escaped}"')
