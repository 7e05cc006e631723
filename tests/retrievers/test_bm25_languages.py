"""BM25's terms: those of bm25s for plain text, and words that find their document in every script."""

import bm25s
import pytest
import Stemmer

from gradret.datasets.pydocs import Pydocs
from gradret.search.bm25 import Bm25Index, build_bm25, stopwords, tokenize
from tests.stages import tiny

# Three documents of a language, and for each a query of its words.
CORPORA = {
    "hindi": {
        "सुबह गाय का दूध बहुत ताज़ा होता है": "गाय का दूध",
        "नानी ने चूल्हे पर मोटी रोटी सेंकी": "मोटी रोटी",
        "चोर रात को घर की खिड़की से कूदा": "घर की खिड़की",
    },
    "tamil": {
        "மலையில் தீ எரிகிறது": "தீ",
        "மாடு தினமும் பால் தருகிறது": "மாடு பால்",
        "இன்று மழை பெய்யும்": "மழை எப்போது பெய்யும்",
    },
    "bengali": {
        "বাংলা ভাষা খুব মধুর": "বাংলা ভাষা",
        "নদীর ধারে সকালে হাঁটি": "নদীর ধারে",
        "বাজারে তাজা মাছ বিক্রি হয়": "তাজা মাছ",
    },
    "thai": {
        "แมวสีดำกินปลาในครัว": "แมวกินปลา",
        "ฝนตกหนักที่เชียงใหม่เมื่อวาน": "เชียงใหม่",
        "รถไฟออกจากสถานีตอนเช้า": "สถานีรถไฟ",
    },
    "chinese": {
        "今天北京的天气非常好": "北京天气",
        "我的猫喜欢喝水": "猫",
        "人工智能正在改变世界": "什么是人工智能？",
    },
    "japanese": {
        "東京タワーは夜になると光る": "東京タワーの夜",
        "朝ごはんに卵を食べた": "卵",
        "新しいコンピュータを買いました": "ｺﾝﾋﾟｭｰﾀ",
    },
    "korean": {
        "학교에서 한국어를 배운다": "한국어 학교",
        "물은 아주 차갑다": "물",
        "기차가 서울역에 도착했다": "서울역",
    },
    "arabic": {
        "كَتَبَ الوَلَدُ رِسالَةً طَويلَة": "كتب الولد",
        "البحر الميت شديد الملوحة": "البَحْرُ المَيِّت",
        "سقط المطر على المدينة": "مطر المدينة",
    },
    "hebrew": {
        "הַיֶּלֶד אָכַל תַּפּוּחַ אָדֹם": "תפוח אדום הילד",
        "הספינה חצתה את הים": "הַיָּם",
        "החתול ישן על הספה": "חתול על הספה",
    },
    "burmese": {
        "မြန်မာစာကို လေ့လာသည်": "မြန်မာစာ",
        "ယနေ့ မိုးရွာနေသည်": "မိုးရွာ",
        "ငါးကို ကြော်စားသည်": "ငါးကြော်",
    },
}
STEMMED = {"hindi", "tamil", "arabic"}


@pytest.mark.usefixtures("ray_session")
def test_the_document_that_holds_the_words_is_first(settings, tmp_path):
    for language, corpus in CORPORA.items():
        config = settings(dataset=Pydocs(language=language if language in STEMMED else "none"))
        rows = [tiny.doc(number, text) for number, text in enumerate(corpus)]
        index = Bm25Index(build_bm25(config, tiny.artifact(tmp_path / language, "ingest", {"docs": [rows]}), 1.2, 0.75))
        found = [doc_ids for doc_ids, _ in index.search(list(corpus.values()), 3)]
        assert [doc_ids[:1] for doc_ids in found] == [["d000"], ["d001"], ["d002"]], language


TEXTS = {
    "english": "The shells' buckling (by LOADS) wasn't 3.5 times as naïve_as_thought, in Zürich at 5 µm² and β-decay.",
    "german": "Die Größe der Häuser in Zürich, daß sie über 3 m² hätten, und viele Straßen.",
    "french": "L'été dernier, les élèves étaient allés à l'école; où sont les œuvres ?",
    "russian": "Над городом летали большие птицы, и все смотрели на них.",
    "none": "Η πόλη των Αθηνών, foo_bar 12:30.",
}


@pytest.mark.parametrize("language", TEXTS)
def test_plain_texts_have_the_terms_of_bm25s(language):
    texts = [TEXTS[language], "", TEXTS[language].upper(), TEXTS["english"]]
    stemmer = None if language == "none" else Stemmer.Stemmer(language)
    stop = sorted(stopwords(language))
    want = bm25s.tokenize(texts, stopwords=stop, stemmer=stemmer, return_ids=False, show_progress=False)
    assert tokenize(texts, language) == want
    assert want[1] == []
    assert len(want[0]) > 4


def test_stop_words_are_dropped_in_every_language_that_has_some():
    for language, word in {"danish": "hvordan", "turkish": "aslında", "german": "über", "english": "the"}.items():
        assert word in stopwords(language)
        assert tokenize([word, word.upper() if language != "turkish" else "Aslında"], language) == [[], []]


def test_turkish_capitals():
    upper, lower = tokenize(["ISPARTA İZMİR", "ısparta izmir"], "turkish")
    assert upper == lower
    assert len(lower) == 2
    assert tokenize(["ISPARTA"], "english") != tokenize(["ısparta"], "english")
