"""A hook of the site: links to files that are not pages, such as examples, become their names.

In the repository such a link opens the file; the site does not have it.
"""

import re
from typing import Any, Final

_OUTSIDE: Final = re.compile(r"\[([^\]]+)\]\((?:\.\./)+[^)\s]+\)")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Return a page without links that leave the folder of the pages."""
    return _OUTSIDE.sub(r"`\1`", markdown)
