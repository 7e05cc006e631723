import jinja2
import pytest

from gradret import prompts
from gradret.errors import ConfigError

ALL = [
    path.relative_to(prompts._FOLDER).with_suffix("").as_posix() for path in sorted(prompts._FOLDER.rglob("*.jinja"))
]


@pytest.fixture
def write(tmp_path):
    """Writes a template and gives its reference."""

    def make(text, name="own.jinja"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return str(path)

    return make


@pytest.mark.parametrize("reference", ALL)
def test_every_template_here_is_valid(reference):
    assert prompts.template(reference).render is not None
    assert prompts.source(reference).strip()
    assert list(prompts.digests([reference]))


def test_names_leave_out_the_parts_of_others():
    assert prompts.names("queries") == [
        "queries/claim",
        "queries/keywords",
        "queries/question",
        "queries/search",
        "queries/search_examples",
        "queries/title",
    ]


def test_a_template_by_path_is_rendered_as_jinja_renders_it(write):
    text = "{% for word in words %}\n<{{ word }}>\n{% endfor %}\n"
    want = jinja2.Template(text, trim_blocks=True, lstrip_blocks=True).render(words=["a & b", "c"])
    assert prompts.template(write(text)).render(words=["a & b", "c"]) == want == "<a & b>\n<c>\n"


def test_a_name_that_is_not_given_is_refused(write):
    with pytest.raises(jinja2.UndefinedError, match="word"):
        prompts.template(write("{{ word }}")).render(words=["a"])


def test_a_missing_template_names_those_that_exist():
    with pytest.raises(ConfigError, match=r"queries/questoin.*queries/question.*\.jinja"):
        prompts.template("queries/questoin")
    with pytest.raises(ConfigError, match=r"a file that ends in \.jinja"):
        prompts.template("nowhere/own.jinja")


def test_broken_jinja_is_named_with_its_line(write):
    own = write("first\n{% for %}")
    for read in (prompts.template, lambda reference: prompts.digests([reference])):
        with pytest.raises(ConfigError, match=r"own\.jinja, line 2"):
            read(own)


def test_exported_gives_variables_and_macros_in_the_order_asked(write):
    own = write("{% set words = [1, 2] %}{% macro add(a, b) %}{{ a + b }}{% endmacro %}{% set text %}x{% endset %}")
    text, add, words = prompts.exported(own, "text", "add", "words")
    assert (text, add(2, b=3), words) == ("x", "5", [1, 2])


def test_exported_says_what_a_template_does_not_set(write):
    own = write("{% set a = 1 %}")
    with pytest.raises(ConfigError, match=r"own\.jinja does not set b and c"):
        prompts.exported(own, "a", "b", "c")


@pytest.mark.parametrize("text", ["{% set a = b + 1 %}", "{% import 'queries/none' as a %}", "{% set a = [][0].x %}"])
def test_exported_refuses_what_cannot_be_rendered(write, text):
    with pytest.raises(ConfigError, match=r"own\.jinja|queries/none"):
        prompts.exported(write(text), "a")


def test_a_template_imports_by_the_same_names(write):
    inner = write("{% set word = 'inner' %}", "inner.jinja")
    outer = write(
        f"{{% from '{inner}' import word %}}{{% from 'queries/_passages' import passages %}}"
        "{% set words = [word, passages | length > 0] %}",
        "outer.jinja",
    )
    assert prompts.exported(outer, "words") == [["inner", True]]


def test_digests_change_with_a_template_and_with_what_it_imports(write):
    inner = write("{% set a = 1 %}", "inner.jinja")
    outer = write(f"{{% import '{inner}' as inner %}}", "outer.jinja")
    other = write("{% set b = 1 %}", "other.jinja")
    first = prompts.digests([outer, other])
    assert set(first) == {outer, inner, other}
    assert prompts.digests([other, outer, other]) == first
    write("{% set a = 2 %}", "inner.jinja")
    second = prompts.digests([outer, other])
    assert {name for name in first if first[name] != second[name]} == {inner}


def test_templates_that_import_each_other_have_digests(write, tmp_path):
    one = write(f"{{% import '{tmp_path / 'two.jinja'}' as two %}}", "one.jinja")
    two = write(f"{{% import '{one}' as one %}}", "two.jinja")
    assert set(prompts.digests([one])) == {one, two}


@pytest.mark.parametrize(
    "text",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ cycler.__init__.__globals__.os.getcwd() }}",
        "{{ words.append('x') }}",
    ],
)
def test_a_template_runs_no_code_and_changes_nothing(write, text):
    words = ["a"]
    with pytest.raises(jinja2.exceptions.SecurityError):
        prompts.template(write(text)).render(words=words)
    assert words == ["a"]
    with pytest.raises(ConfigError, match="unsafe"):
        prompts.messages(write("{% set system = 's' %}{% macro user(words) %}" + text + "{% endmacro %}"), words=words)
