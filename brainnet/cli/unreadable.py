"""An override that cannot be read: what Hydra's parser says of it, in plain words."""

import re

REASONS = (
    (r"token recognition error at: '(?P<at>[\"'].*)'", "a quote in {at} is not closed"),
    (r"token recognition error at: ' '", "there is a space where none can be"),
    (r"token recognition error at: '(?P<at>.*)'", "{at} needs quotes"),
    (r"no viable alternative at input '(?P<at>.*)'", "it goes wrong, or is not finished, at {at}"),
    (r"(?:mismatched|extraneous) input '<EOF>'.*", "something is missing at its end"),
    (r"(?:mismatched|extraneous) input '(?P<at>.*?)' expecting.*", "{at} is not expected there"),
    (r"missing '?(?P<need>.*?)'? at '<EOF>'", "{need} is missing at its end"),
    (r"missing '?(?P<need>.*?)'? at '(?P<at>.*)'", "{need} is missing before {at}"),
)


def unreadable(word: str, reason: str) -> str:
    """Why an override cannot be read, and what one looks like.

    Args:
        word: as typed.
        reason: the first line of what the parser says.

    Example:
        >>> print(unreadable("name=über", "token recognition error at: 'ü'").splitlines()[1])
        Signs and letters beyond English ones need quotes within quotes: 'name="über"'.
    """
    plain = reason.rstrip(".")
    for pattern, words in REASONS:
        if found := re.fullmatch(pattern, plain):
            plain = words.format(**found.groupdict())
            break
    return f"cannot read {word!r}: {plain}.\n{_hint(word, plain)}"


def _hint(word: str, reason: str) -> str:
    key, sign, value = word.partition("=")
    if reason.endswith("needs quotes") and re.fullmatch(r"[\w.]+", key, re.ASCII) and sign:
        bare = value.replace('"', "")
        if bare[:1] not in ("[", "{"):
            return (
                "Signs and letters beyond English ones need quotes within quotes: "
                f"'{key}=\"{bare}\"'."
            )
    return (
        "An override is key=value, as in optimizer.lr=0.01; lists and spaces need quotes for the "
        "shell: 'network.hidden=[64, 32]'."
    )
