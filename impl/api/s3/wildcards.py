"""Patterns as policies have them: `*` is any characters or none, `?` is one."""

import re
from fnmatch import translate
from functools import lru_cache
from typing import Final

PATTERN_CHARS_MAX: Final = 2048


def matches(pattern: str, text: str) -> bool:
    """Costs no more than the product of both lengths, whatever the pattern is."""
    return _compiled(pattern).match(text) is not None


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(translate(pattern.replace("[", "[[]")))
