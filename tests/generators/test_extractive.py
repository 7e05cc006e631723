"""Extractive queries occur in their document, in every script."""

import unicodedata

import pytest

from gradret.config.run import Config
from gradret.datasets.pydocs import Pydocs
from gradret.generators.extractive import Extractive
from gradret.search.bm25 import build_bm25
from tests.stages import tiny

DOCS = {
    "hindi": "सुबह गाय का दूध बहुत ताज़ा होता है। नानी ने चूल्हे पर मोटी रोटी सेंकी। चोर रात को घर की खिड़की से कूदा।",
    "bengali": "বাংলা ভাষা খুব মধুর শোনায়। আমি নদীর ধারে সকালে হাঁটি। বাজারে তাজা মাছ বিক্রি হয়।",
    "thai": "แมวสีดำกินปลาในครัว ฝนตกหนักที่เชียงใหม่เมื่อวาน รถไฟออกจากสถานีตอนเช้า",
    "chinese": "今天北京的天气非常好，我们去公园散步。我的猫喜欢喝水，但是不喜欢洗澡！人工智能正在改变整个世界。",
    "burmese": "မြန်မာစာကို ကျောင်းမှာ လေ့လာသည်။ ယနေ့ မိုးရွာနေသည်။ ငါးကို ကြော်စားသည်။",
    "english": "Thin shells buckle under axial load. A longer shell buckles earlier than a short one. Wings do not.",
}
UNSPACED = {"thai", "chinese", "burmese"}


@pytest.fixture(scope="module")
def written(ray_session, tmp_path_factory):
    """Kind and text of queries of each document, by language."""
    storage = tmp_path_factory.mktemp("extractive")
    config = Config(name="toy", dataset=Pydocs(language="none"), storage_path=str(storage))
    docs = [tiny.doc(number, text) for number, text in enumerate(DOCS.values())]
    generator = Extractive(queries=6000, per_doc=1000, max_words=8)
    index = build_bm25(config, tiny.artifact(storage, "ingest", {"docs": [docs]}), 1.2, 0.75)
    write = generator.load({"bm25": index}, len(docs), 0)
    return {language: [(one.kind, one.text) for one in write(language, "", text)] for language, text in DOCS.items()}


def length(text, language):
    """Words, or letters where there are no blanks."""
    if language not in UNSPACED:
        return len(text.split())
    return sum(unicodedata.category(char)[0] == "L" for char in text)


@pytest.mark.parametrize("language", DOCS)
def test_sentences_and_spans_stand_in_the_document_and_are_of_the_set_length(written, language):
    cut = {kind: [text for one, text in written[language] if one == kind] for kind in ("sentence", "span")}
    assert all(text in DOCS[language] for texts in cut.values() for text in texts)
    assert {length(text, language) for text in cut["span"]} <= set(range(5, 15))
    assert max(length(text, language) for text in cut["sentence"]) <= 8
    assert len(set(cut["sentence"])) >= 3
    assert len(set(cut["span"])) > 5
    # A mark that begins a query was torn from its letter.
    assert not any(unicodedata.category(text[0])[0] == "M" for texts in cut.values() for text in texts)


@pytest.mark.parametrize("language", DOCS)
def test_sentences_do_not_reach_over_a_mark(written, language):
    texts = [text for kind, text in written[language] if kind == "sentence"]
    assert not any(mark in text[:-1] for text in texts for mark in "।။。！.")


@pytest.mark.parametrize("language", DOCS)
def test_keywords_are_words_or_pairs_of_letters_of_the_document(written, language):
    keywords = [text.split() for kind, text in written[language] if kind == "keywords"]
    assert keywords
    held = DOCS[language].lower()
    held = set(held.replace("।", " ").replace(".", " ").split()) if language not in UNSPACED else held
    for found in keywords:
        assert 3 <= len(found) <= 7
        assert all(word in held for word in found)
