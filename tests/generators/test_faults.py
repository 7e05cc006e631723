import random

import pytest

from gradret.generators._faults import FORMS, is_foreign, is_line, mentions_document, on_topic, shared

ENGLISH = "The boundary layer on a flat plate is formed by the flow and separates from it when the pressure rises."
GERMAN = "Die Grenzschicht an der ebenen Platte wird von der Strömung gebildet und löst sich bei einem Druckanstieg ab."
CHINESE = "人工智能正在改变世界，许多公司使用机器学习来提高效率。"
JAPANESE = "境界層は平板の上で形成され、圧力が上がると表面から剥がれる。"
THAI = "ชั้นขอบเขตเกิดขึ้นบนแผ่นเรียบและแยกตัวออกเมื่อความดันเพิ่มขึ้น"
RUSSIAN = "Пограничный слой на плоской пластине отрывается от неё, когда давление растёт, и это видно на снимках."
ARABIC = "تتشكل الطبقة الحدية على اللوح المستوي وتنفصل عنه عندما يرتفع الضغط."
WORDS = ["wing", "plate", "flow", "heat"]


@pytest.mark.parametrize(
    ("text", "source", "length", "share"),
    [
        ("the flow over a plate", "THE FLOW, over a plate!", 3, 1),
        ("the flow over a wing", "the flow over a plate", 3, 4 / 5),
        ("the flow past a plate", "the flow over a plate", 3, 0),
        ("one flow over a plate of steel", "the flow over a plate", 3, 4 / 7),
        ("over a", "the flow over a plate", 3, 0),
        ("", "the flow over a plate", 3, 0),
        ("the flow over a plate", "", 3, 0),
        ("机器学习来提高", CHINESE, 3, 1),
        ("机器学习", CHINESE, 3, 0),
        ("为什么机器学习来提高", CHINESE, 3, 0.7),
    ],
)
def test_shared_counts_words_in_common_sequences(text, source, length, share):
    assert shared(text, source, length) == pytest.approx(share)


@pytest.mark.parametrize("seed", range(50))
def test_shared_is_that_of_a_slow_count(seed):
    draw = random.Random(seed)
    text, source = (draw.choices(WORDS, k=draw.randint(1, 40)) for _ in range(2))
    length = draw.randint(1, 5)

    def stands(start):
        run = f" {' '.join(text[start : start + length])} "
        return 0 <= start <= len(text) - length and run in f" {' '.join(source)} "

    covered = [any(stands(start) for start in range(place - length + 1, place + 1)) for place in range(len(text))]
    assert shared(" ".join(text), " ".join(source), length) == pytest.approx(sum(covered) / len(text))


@pytest.mark.parametrize(
    ("text", "line"), [("patent law.", True), ("write one line", True), ("patent", False), ("one line", False)]
)
def test_a_line_has_all_words_of_one(text, line):
    assert is_line(text, "Patent law\nWrite one  line:") is line


@pytest.mark.parametrize(
    ("text", "document"),
    [
        ("Wann löst sich die Grenzschicht von der Platte ab?", ENGLISH),
        ("Quand la couche limite se sépare-t-elle de la plaque ?", ENGLISH),
        ("When does the boundary layer leave the plate?", GERMAN),
        ("边界层何时分离", ENGLISH),
        ("why does the boundary layer separate", CHINESE),
        ("how are companies changed", JAPANESE),
        ("why does the boundary layer separate", THAI),
        ("why does the boundary layer separate", ARABIC),
        ("почему отрывается слой", ENGLISH),
        ("设计 of a flat plate", ENGLISH),
        ("when 圧力 rises on a plate", ENGLISH),
        ("why does it leave the plate", RUSSIAN),
    ],
)
def test_another_language_is_foreign(text, document):
    assert is_foreign(text, document)


@pytest.mark.parametrize(
    ("text", "document"),
    [
        ("why am I so tired", ENGLISH),
        ("do all men die in a war", ENGLISH),
        ("die casting", ENGLISH),
        ("the main idea of it all", "A thin shell buckles under axial load."),
        ("boundary layer separation", ENGLISH),
        ("naïve Poincaré plots", ENGLISH),
        ("α and β of a plate", ENGLISH),
        ("Ablösung der Grenzschicht", GERMAN),
        ("Grenzschicht, Druckanstieg", GERMAN),
        ("Čaplygin's flow at a plate", ENGLISH),
        ("AI と 境界層", JAPANESE),
        ("CPU 和 GPU 如何改变人工智能", CHINESE),
        ("机器学习", CHINESE),
        ("境界層はなぜ剥がれるのか", JAPANESE),
        ("ทำไมชั้นขอบเขตจึงแยกตัว", THAI),
        ("почему слой отрывается", RUSSIAN),
        ("لماذا تنفصل الطبقة الحدية", ARABIC),
        ("", ENGLISH),
        ("42", ENGLISH),
        ("boundary layer", ""),
    ],
)
def test_the_language_of_the_document_is_not_foreign(text, document):
    assert not is_foreign(text, document)


@pytest.mark.parametrize(
    ("text", "document", "share"),
    [
        ("why does the boundary layer separate", ENGLISH, 1),
        ("separation of the boundary", ENGLISH, 1),
        ("how do heat pumps work", ENGLISH, 0),
        ("flat earth", ENGLISH, 1 / 2),
        ("what is it", ENGLISH, 0),
        ("", ENGLISH, 0),
        ("flat plate", "", 0),
        ("Ablösung der Grenzschicht", GERMAN, 1 / 2),
        ("人工智能", CHINESE, 1),
        ("围棋规则", CHINESE, 0),
        ("ชั้นขอบเขต", THAI, 1),
        ("почему слой отрывается", RUSSIAN, 2 / 3),
    ],
)
def test_words_of_the_document_tell_what_a_query_is_about(text, document, share):
    assert on_topic(text, document) == pytest.approx(share)


@pytest.mark.parametrize(
    "text", ["What does the document say?", "Document about shells", "shells in this Article", "as the above text says"]
)
def test_a_mention_of_the_document_is_found(text):
    assert mentions_document(text)


@pytest.mark.parametrize("text", ["document the code", "text of the treaty", "the paperback", "an article of faith"])
def test_words_for_documents_are_no_mention(text):
    assert not mentions_document(text)


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("question", "Why does a shell buckle?"),
        ("question", "why does a shell buckle"),
        ("question", "Warum knickt eine Schale?"),
        ("question", "لماذا تنبعج القشرة؟"),
        ("question", "Γιατί λυγίζει το κέλυφος;"),
        ("question", "薄い殻はなぜ座屈するのか"),
        ("question", "เปลือกบางโก่งตัวทำไม"),
        ("statement", "A thin shell buckles under load."),
        ("statement", "When the pressure rises, the layer separates."),
        ("statement", "Is it so? asked nobody of thin shells."),
        ("statement", "薄い殻は座屈する。"),
        ("keywords", "shell, buckling, axial load"),
        ("keywords", "thin shell buckling under axial load"),
        ("keywords", "shell, buckling, axial load."),
        ("keywords", "Buckling of a thin shell under axial load."),
        ("keywords", "薄い殻、座屈、軸荷重"),
        ("keywords", "قشرة رقيقة، انبعاج، حمل"),
    ],
)
def test_a_text_of_its_form_has_no_fault(form, text):
    assert FORMS[form](text) == ""


@pytest.mark.parametrize(
    ("form", "text", "says"),
    [
        ("question", "A thin shell buckles under load.", "not a question"),
        ("question", "shell, buckling, axial load", "not a question"),
        ("question", "Why does a shell buckle? When does it?", "several questions"),
        ("question", "Eine dünne Schale knickt unter Last.", "not a question"),
        ("statement", "Does a thin shell buckle?", "a question, not a statement"),
        ("statement", "why a thin shell buckles", "a question, not a statement"),
        ("statement", "薄い殻はなぜ座屈するのか？", "a question, not a statement"),
        ("keywords", "Thin shells buckle because their walls cannot bear the load", "a sentence, not keywords"),
        ("keywords", "Why do shells buckle?", "a question, not keywords"),
        ("keywords", "薄い殻はなぜ座屈するのか？", "a question, not keywords"),
    ],
)
def test_a_text_of_another_form_says_so(form, text, says):
    assert FORMS[form](text) == says
