"""An override that cannot be read: what Hydra's parser says of it, in plain words."""

import re
import shlex

from brainnet.cli.first_try import of_word

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
            plain = words.format(**found.groupdict()).replace("EQUAL", "=")
            break
    # Without a sign of equality it is no override at all, and may be a first try.
    tried = None if re.match(r"[~+]*\w[\w./@]*=", word) else of_word(word)
    if tried is not None:
        return f"{word!r} is no override, which is key=value.\n{tried}"
    return f"cannot read {word!r}: {plain}.\n{_hint(word, plain)}"


def _hint(word: str, reason: str) -> str:
    key, sign, value = word.partition("=")
    plain = re.sub(r'(?<!\\)"', "", value).replace('\\"', '"')  # quotes may be put in by now
    is_list = plain[:1] in ("[", "{") or plain[-1:] in ("]", "}")
    if not sign or not plain or is_list or not re.fullmatch(r"[\w.]+", key, re.ASCII):
        return (
            "An override is key=value, as in optimizer.lr=0.01; lists and spaces need quotes for "
            "the shell: 'network.hidden=[64, 32]'."
        )
    told = shlex.quote(f"{key}={_quoted(plain)}")
    if reason.endswith("needs quotes"):
        return f"Signs and letters beyond English ones need quotes within quotes: {told}."
    return f"Of a file's name, or another text with such signs, type in the shell: {told}"


def _quoted(text: str) -> str:
    r"""A text in the double quotes of Hydra's grammar, in which a backslash escapes them alone.

    Example:
        >>> print(_quoted('my "file" (1).csv'))
        "my \"file\" (1).csv"
    """
    doubled = re.sub(r'(\\+)("|$)', r"\1\1\2", text)
    return '"' + doubled.replace('"', '\\"') + '"'
