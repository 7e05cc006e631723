"""Passages, words, sentences and normalised texts in many scripts.

Oracles: Unicode's default word boundaries (UAX #29) as ``regex`` has them, bm25s for what is plain, and by hand.
"""

import re
import sys
import unicodedata

import bm25s
import pytest
import regex

from gradret import scripts, text
from gradret.text import fold, normalise, passage, pieces, sentences, terms, words

SENTENCES = {
    "english": ["The naïve café didn't re-open in 2024.", "Why not?", "Ask (snake_case) again!"],
    "hindi": ["सुबह गाय का दूध बहुत ताज़ा होता है।", "नानी ने क्या पूछा?", "चोर रात को कूदा॥"],
    "tamil": ["தீ மலையில் எரிகிறது.", "மாடு பால் தருகிறது.", "மழை எப்போது பெய்யும்?"],
    "bengali": ["বাংলা ভাষা মধুর।", "আমি প্রতিদিন নদীর ধারে হাঁটি।", "তুমি কোথায় যাচ্ছ?"],
    "arabic": ["كَتَبَ الوَلَدُ رِسالَةً طَويلَة۔", "أين يقع البحر الميت؟", "المطر غزير اليوم."],
    "hebrew": ["שָׁלוֹם עוֹלָם יָפֶה.", "איפה הים?", "החתול ישן."],
    "korean": ["학교에서 한국어를 배운다.", "물은 차갑다.", "언제 비가 오는가?"],
    "chinese": ["今天天气很好。", "我们去公园吗？", "「好。」", "他说不去！？"],
    "japanese": ["あのねこはよくねる。", "さむいあさだ！", "どこへいくのか。"],
    "burmese": ["မြန်မာစာကို လေ့လာသည်။", "မိုးရွာနေသည်။"],
    "khmer": ["ភាសាខ្មែរពិរោះ។", "ទឹកត្រជាក់។"],
    "thai": ["แมวกินปลา", "หมานอนหลับ", "ฝนตกหนัก"],
}
TEXTS = {language: (" ".join if language != "chinese" else "".join)(rows) for language, rows in SENTENCES.items()}


@pytest.mark.parametrize(
    ("title", "text", "whole"),
    [("A", "b", "A b"), ("", "b", "b"), (None, " b ", " b "), ("A", "", "A"), ("", "", ""), (None, "", "")],
)
def test_passage(title, text, whole):
    assert passage(title, text) == whole


@pytest.mark.parametrize("language", sorted(TEXTS.keys() - {"english", "burmese", "khmer", "thai"}))
def test_words_are_what_unicode_breaks_a_text_into(language):
    bare = fold(TEXTS[language].casefold())
    assert words(TEXTS[language]) == [part for part in regex.split(r"(?V1w)\b", bare) if regex.search(r"\p{L}", part)]


@pytest.mark.parametrize("language", ["burmese", "khmer", "thai"])
def test_a_letter_with_its_marks_is_a_word_where_no_blanks_are_written(language):
    letters = sum(unicodedata.category(char)[0] == "L" for char in TEXTS[language])
    found = words(TEXTS[language])
    assert len(found) == letters
    assert "".join(found) == regex.sub(r"[^\p{L}\p{M}]", "", TEXTS[language])


@pytest.mark.parametrize("language", SENTENCES)
def test_sentences_end_with_the_marks_of_the_script(language):
    assert sentences(TEXTS[language]) == SENTENCES[language]


def test_paragraphs_end_sentences_and_decimal_points_do_not():
    assert sentences("One 3.5\n \nनदी 3.5 मीटर") == ["One 3.5", "नदी 3.5 मीटर"]
    assert sentences("") == sentences(" \n\n ") == []


@pytest.mark.parametrize("whole", [*TEXTS.values(), " Two\t 手机 (iPhone)  \n", "「今」 (ABC)", "\u0e31", "", "  "])
def test_pieces_are_the_text(whole):
    assert "".join(pieces(whole)).strip() == " ".join(whole.split())


@pytest.mark.parametrize(
    ("whole", "number"), [(TEXTS["english"], 12), (TEXTS["hindi"], 16), ("今天，手机 iPhone!", 5), ("ภาษา ไทย", 7)]
)
def test_pieces_are_blank_separated_words_or_letters(whole, number):
    assert len(pieces(whole)) == number


@pytest.mark.parametrize(
    ("whole", "found"),
    [
        ("गाय का दूध", ["गाय", "का", "दूध"]),
        ("今天iPhone手机2024年", ["今", "天", "今天", "iphone", "手", "机", "手机", "2024", "年"]),
        ("水", ["水"]),
        ("コーヒー", ["コー", "ーヒ", "ヒー"]),
        ("한국 물", ["한", "국", "한국", "물"]),
        ("แมว ๒๕๖๗", ["แม", "มว", "๒๕๖๗"]),
        ("น้ำแข็ง", ["น้ำ", "ำแ", "แข็", "ข็ง"]),
        ("မြန်မာ", ["မြ", "န်", "မာ", "မြန်", "န်မာ"]),
        ("ភាសា\u200bខ្មែរ", ["ភា", "សា", "ភាសា", "ខ្", "មែ", "រ", "ខ្មែ", "មែរ"]),
        ("a I don't", ["don"]),
    ],
)
def test_terms(whole, found):
    assert terms(whole) == found


@pytest.mark.parametrize(
    ("written", "also"),
    [
        ("cafe\u0301", "café"),
        ("ЙОД", "и\u0306од"),
        ("कि\u0924\u094d\u200d\u0924ा", "कि\u0924\u094d\u0924ा"),
        ("\u095b", "\u091c\u093c"),
        ("كَتَبَ", "كتب"),
        ("كتــاب", "كتاب"),
        ("ﻛﺘﺎﺏ", "كتاب"),
        ("שָׁלוֹם", "שלום"),
        ("\ufb2aלום", "שלום"),
        ("می\u200cخواهم", "میخواهم"),
        ("Ｐｙｔｈｏｎ３", "python3"),
        ("ｶﾞﾗｽ", "ガラス"),
        ("ex\xadample", "example"),
        ("각", "\u1100\u1161\u11a8"),
    ],
)
def test_what_readers_take_for_the_same_is_the_same(written, also):
    assert words(written) == words(also)
    assert terms(written) == terms(also)
    assert normalise(written) == normalise(also)


@pytest.mark.parametrize(
    ("one", "other"), [("कमल", "कमला"), ("はは", "ばば"), ("बल", "बिल"), ("ปู", "ป"), ("가다", "각다"), ("தீ", "த")]
)
def test_other_words_stay_other_words(one, other):
    assert words(one) != words(other)
    assert terms(one) != terms(other)
    assert normalise(one) != normalise(other)


def test_normalise_keeps_letters_and_their_marks():
    assert normalise("  नानी (2024) ने पूछा? ") == "नानी ने पूछा"
    assert normalise("今天，天气！") == "今天 天气"
    assert normalise("Élan vital\u0301 ½ Ångström") == "elan vital angstrom"


PLAIN = [char for char in map(chr, range(sys.maxunicode + 1)) if text._PLAIN.fullmatch(char)]


def test_what_is_plain_reads_as_all_scripts_do():
    """Each plain character, within a word, after one and alone, through both ways."""
    assert len(PLAIN) > 1500
    for char in PLAIN:
        whole = f"ab{char}cd e{char} {char}f {char} ab.{char}Cd"
        assert scripts.FORMS.sub("", scripts.POINTS.sub("", scripts.without_ignorable(whole))) == whole, ascii(char)
        assert unicodedata.is_normalized("NFC", whole), ascii(char)
        assert scripts.words(whole) == re.findall(r"\w+", whole), ascii(char)
        assert scripts.terms(whole) == re.findall(r"\w\w+", whole), ascii(char)
        assert "".join(scripts.pieces(" ".join(whole.split()))).split() == whole.split(), ascii(char)
        assert len(scripts.pieces(" ".join(whole.split()))) == len(whole.split()), ascii(char)
        assert [part for part in scripts.sentences(whole) if part.strip()] == sentences(whole), ascii(char)


def test_plain_texts_have_the_words_of_bm25s():
    texts = ["".join(PLAIN[place : place + 7]) for place in range(0, len(PLAIN), 5)] + [TEXTS["english"]]
    want = bm25s.tokenize([one.upper() for one in texts], stopwords=[], return_ids=False, show_progress=False)
    simple = [number for number, one in enumerate(texts) if text._PLAIN.fullmatch(one.upper().lower())]
    assert len(simple) > 300
    assert [terms(texts[number].upper()) for number in simple] == [want[number] for number in simple]
