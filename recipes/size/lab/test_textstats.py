"""The tests of textstats.py: what the program must still do when it is shorter."""

import unittest

import textstats

TEXT = "The cat sat. The dog's bowl -- the CAT's bowl! -- was empty?! It's 9 o'clock."


class Textstats(unittest.TestCase):
    def test_words_are_in_lower_case_and_keep_an_apostrophe_inside(self):
        expected = [
            "the",
            "cat",
            "sat",
            "the",
            "dog's",
            "bowl",
            "the",
            "cat's",
            "bowl",
            "was",
            "empty",
            "it's",
            "9",
            "o'clock",
        ]
        self.assertEqual(textstats.words(TEXT), expected)

    def test_an_apostrophe_at_an_end_is_no_part_of_a_word(self):
        self.assertEqual(textstats.words("'dogs' and 'cats''"), ["dogs", "and", "cats"])

    def test_letters_of_any_alphabet_make_words(self):
        self.assertEqual(textstats.words("Žluťoučký kůň, 2e"), ["žluťoučký", "kůň", "2e"])

    def test_a_text_without_words(self):
        self.assertEqual((textstats.words(""), textstats.words(" -- '' ")), ([], []))
        self.assertEqual((textstats.count_words("..."), textstats.most_common("...", 3)), ({}, []))

    def test_counts(self):
        counts = textstats.count_words("b a b c B")
        self.assertEqual(dict(counts), {"b": 3, "a": 1, "c": 1})

    def test_the_most_common_come_first_and_equals_by_the_alphabet(self):
        found = textstats.most_common("d c c b b a a a", 3)
        self.assertEqual([tuple(pair) for pair in found], [("a", 3), ("b", 2), ("c", 2)])
        self.assertEqual([tuple(pair) for pair in textstats.most_common("b a", 9)], [("a", 1), ("b", 1)])
        self.assertEqual(list(textstats.most_common("b a", 0)), [])

    def test_sentences_end_with_a_mark_and_have_something_in_them(self):
        for text, count in (("", 0), ("No end", 0), ("One.", 1), ("What?! Yes.", 2), ("... !", 0), (TEXT, 4)):
            self.assertEqual(textstats.sentences(text), count, text)

    def test_the_mean_length_of_words(self):
        self.assertEqual(textstats.mean_length("a bc, def"), 2)
        self.assertEqual(textstats.mean_length("?"), 0)

    def test_grades(self):
        cases = (("", "easy"), ("abc", "easy"), ("abcd", "plain"), ("abcde", "hard"), ("abcdef", "very hard"))
        for text, grade in cases:
            self.assertEqual(textstats.grade(text), grade, text)


if __name__ == "__main__":
    unittest.main()
