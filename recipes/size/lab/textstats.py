"""Count words, lines and sentences of a text.  The loop may edit this file; test_textstats.py says what it must do."""


def words(text):
    """Return the words of a text in lower case, without punctuation."""
    result = []
    current = ""
    for character in text:
        if character.isalnum():
            current = current + character.lower()
        elif character == "'" and current != "":
            current = current + character
        else:
            if current != "":
                result.append(current.rstrip("'"))
            current = ""
    if current != "":
        result.append(current.rstrip("'"))
    return result


def count_words(text):
    """Return how often each word occurs."""
    counts = {}
    for word in words(text):
        if word in counts:
            counts[word] = counts[word] + 1
        else:
            counts[word] = 1
    return counts


def most_common(text, number):
    """Return the most common words with their counts: by count, then by the alphabet."""
    counts = count_words(text)
    pairs = []
    for word in counts:
        pairs.append((word, counts[word]))
    ordered = []
    while len(pairs) > 0:
        best = pairs[0]
        for pair in pairs:
            if pair[1] > best[1] or (pair[1] == best[1] and pair[0] < best[0]):
                best = pair
        ordered.append(best)
        pairs.remove(best)
    result = []
    for position in range(len(ordered)):
        if position < number:
            result.append(ordered[position])
    return result


def sentences(text):
    """Return the number of sentences: runs of text that end with a full stop, a question or an exclamation mark."""
    count = 0
    inside = False
    for character in text:
        if character == "." or character == "?" or character == "!":
            if inside:
                count = count + 1
            inside = False
        elif not character.isspace():
            inside = True
    return count


def mean_length(text):
    """Return the mean length of the words, 0 for a text without words."""
    total = 0
    found = words(text)
    for word in found:
        total = total + len(word)
    if len(found) == 0:
        return 0
    return total / len(found)


def grade(text):
    """Say how hard a text is to read, by the mean length of its words."""
    length = mean_length(text)
    if length < 4:
        return "easy"
    elif length < 5:
        return "plain"
    elif length < 6:
        return "hard"
    else:
        return "very hard"
