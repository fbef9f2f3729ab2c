"""A scripted judge: it compares two mails by rules, so that the lab needs no server.

The judge measures what a criterion names: the length of the sentences, the share of long words, the length of the
subject, the word "you" in the first sentence, and how many things the reader is asked to do.
"""

import re

TEXT = r"{name}, between the marks (\w+):\n<<\1\n(.*?)\n\1>>"
ASKED = re.compile(r"^(?:please )?(reply|come|write|call|visit|sign up|register|join|bring)\b", re.IGNORECASE)
OPTIONS = re.compile(r"\bby (?:telephone|replying|transfer)|\bin person\b|\bat the counter\b|\bhomepage\b|\bwebsite\b")


def reply(messages, seed):
    """Return the judge's word for yes or no."""
    said = messages[-1]["content"]
    answer, reference = (quoted(name, said) for name in ("ANSWER", "REFERENCE"))
    criterion = re.search(r"Rubric:\n(.*)", said).group(1)
    yes, no = re.search(r"Reply (\w+) for yes, (\w+) for no", said).groups()
    good = points(criterion, answer) >= points(criterion, reference)
    asks_for_worse = "worse than the REFERENCE?" in said
    return yes if good != asks_for_worse else no


def quoted(name, said):
    """Return the text that is quoted below a name."""
    return re.search(TEXT.format(name=name), said, re.DOTALL).group(2)


def points(criterion, mail):
    """Return how well a mail meets a criterion; more is better."""
    subject, _, body = mail.partition("\n")
    subject = subject.removeprefix("Subject:").strip()
    sentences = [each.strip() for each in re.split(r"(?<=[.!?])\s+|\n\n", body) if len(each.split()) > 2]
    words = re.findall(r"[^\W\d_]+", body)
    if "short" in criterion:
        return -round(sum(len(each.split()) for each in sentences) / len(sentences))
    if "plain" in criterion:
        return -round(100 * sum(len(word) > 8 for word in words) / len(words))
    if "subject" in criterion:
        return len(subject) <= 45
    if "first sentence" in criterion:
        return bool(re.search(r"\byour?\b", sentences[0], re.IGNORECASE))
    asked = sum(bool(ASKED.match(each)) for each in sentences) + len(OPTIONS.findall(body))
    return -abs(asked - 1)
