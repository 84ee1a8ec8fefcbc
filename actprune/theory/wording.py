"""Say documents where documents were counted."""

import re

_SAMPLE = re.compile(r"\b(inputs?|samples?)\b", re.IGNORECASE)


def reworded(text: str, counted: str) -> str:
    """`text` about samples and inputs, in words for what `counted` names.

    Of a packed text the samples of every estimate are documents, and so are the inputs that a
    certificate speaks of: it says nothing of single tokens or windows.
    """
    if counted != "documents":
        return text

    def other(found: re.Match[str]) -> str:
        word = found.group()
        plural = "s" if word[-1] == "s" else ""
        return ("Document" if word[0].isupper() else "document") + plural

    return _SAMPLE.sub(other, text).replace("an document", "a document")
