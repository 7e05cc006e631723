"""Stored answers of a language model: the answers that a damaged artifact has kept are not asked again."""

from gradret.engines import Answer
from gradret.store.artifacts import write_shard
from gradret.work.answers import Answers, answers_table


def answer(number, finish="stop"):
    return Answer(prompt_id=f"p{number}", text=f"text {number}", finish=finish, tokens_in=3, tokens_out=2)


def kept(folder, answers):
    path = folder / "answers" / "part-00000.parquet"
    write_shard(path, answers_table(answers), "answers")
    return path


def test_answers_that_were_kept_are_taken_over(tmp_path):
    given = [answer(0), answer(1)]
    path = kept(tmp_path, given)
    answers = Answers(tmp_path / "work")
    answers.adopt(0, path)
    assert not path.exists()
    assert answers.complete(0)
    assert answers.of(0) == given
    answers.adopt(1, path)
    assert not answers.complete(1)


def test_an_answer_that_failed_is_asked_again(tmp_path):
    answers = Answers(tmp_path / "work")
    answers.adopt(0, kept(tmp_path, [answer(0), answer(1, "error")]))
    assert answers.answered_before(0) == {"p0"}
    assert not answers.complete(0)


def test_a_stage_that_goes_on_keeps_its_own_answers(tmp_path):
    path, answers = kept(tmp_path, [answer(0)]), Answers(tmp_path / "work")
    answers.add(0, [answer(5)])
    answers.adopt(0, path)
    assert path.exists()
    assert answers.of(0) == [answer(5)]
