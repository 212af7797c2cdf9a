import re
import shutil
import stat
from html.parser import HTMLParser
from pathlib import Path

import pytest

from bench.analysis import render, tables

ROOT = Path(__file__).parents[2]
REPORT, LITERATURE = ROOT / "report", ROOT / "config" / "literature.tsv"
SECTIONS = len(re.findall(r"^# ", (REPORT / "report.qmd").read_text(), re.MULTILINE))
SECTIONS = sum(line.startswith("# ") for line in (REPORT / "report.qmd").read_text().splitlines())
VOID = {"meta", "link", "img", "br", "col", "hr"}


class Page(HTMLParser):
    """Tags with their attributes, in order; a tag that is closed wrongly is an error."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(data.decode())
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data

    def all(self, name):
        return [attributes for tag, attributes in self.tags if tag == name]


def make(summary, build, **changes):
    out = build.parent / f"{build.name}.html"
    arguments = {"report": REPORT, "literature": LITERATURE, "quarto": None} | changes
    render.render(summary, build=build, out=out, **arguments)
    return out.read_bytes()


@pytest.fixture(scope="module")
def data(summary_folder, tmp_path_factory):
    return make(summary_folder, tmp_path_factory.mktemp("page") / "build")


@pytest.fixture(scope="module")
def page(data):
    return Page(data)


def test_the_same_summary_gives_the_same_bytes(data, summary_folder, tmp_path):
    assert make(summary_folder, tmp_path / "elsewhere") == data


def test_the_page_needs_nothing_but_itself(data, page):
    assert page.all("script") == page.all("link") == page.all("iframe") == []
    assert all(image["src"].startswith("data:image/svg+xml") for image in page.all("img"))
    assert all(link["href"].startswith("#") for link in page.all("a"))
    styles = data.decode().partition("<style>")[2].partition("</style>")[0]
    assert "url(" not in styles
    assert "@import" not in styles
    policy = next(m for m in page.all("meta") if "http-equiv" in m)
    assert policy["content"].startswith("default-src 'none'; ")


def test_every_link_leads_somewhere_and_no_place_has_two(page):
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {link["href"][1:] for link in page.all("a")} <= set(ids)


def test_every_head_of_a_table_says_what_it_heads(page):
    assert {head.get("scope") for head in page.all("th")} == {"col", "row"}
    assert len(page.all("caption")) == len(page.all("table")) > 15


def test_every_table_scrolls_in_a_box_that_a_keyboard_reaches(page):
    boxes = [div for div in page.all("div") if div.get("class") == "scroll"]
    assert len(boxes) == len(page.all("table"))
    assert all(b["tabindex"] == "0" and b["role"] == "region" and b["aria-label"] for b in boxes)


def test_every_picture_says_what_it_shows(page):
    assert len(page.all("img")) == 2 * len(page.all("figure")) == 10
    assert all(len(image["alt"]) > 40 for image in page.all("img"))


def test_there_is_one_title_and_no_level_is_skipped(page):
    assert len(page.all("h1")) == 1
    assert len(page.all("h2")) == SECTIONS
    assert page.all("html") == [{"lang": "en"}]


def test_the_answer_comes_first_with_interval_and_denominator(page):
    answer = page.text.partition("Answer")[2].partition("Answer")[2]
    number = r"1\.0[56]\d?\u00a0times \[1\.\d+, 1\.\d+\] \(\d+\u00a0tokens\)"
    assert re.search(f"A confidential request took between {number} and {number}", answer[:200])
    assert "the same request to a plain process" in answer[:300]


def test_an_emulated_run_says_so_in_plain_words(page):
    assert "No hardware protected this run." in page.text
    assert "local, emulated: no hardware isolation" in page.text


def test_the_provenance_is_complete(page):
    box = page.text.partition("What was measured, and where")[2].partition("Three kinds")[2]
    box = page.text.partition("Three kinds")[0].rpartition("What was measured, and where")[2]
    for fact in ("Example CPU 3000", "6.1.0", "enclave bwrap in every boot: no new", "a1" * 48):
        assert fact in box
    for fact in ("3f" * 32, "2026-01-01 to 2026-01-03", "3, each of 4 boots", "v0.1.0-3-gabc1234"):
        assert fact in box


def test_published_numbers_stand_in_tables_of_their_own(page):
    assert page.text.count("Nothing in this table was measured here.") == 4
    assert "48 times, again CPU against GPU" in page.text


def test_references_and_variables_are_resolved(page):
    assert "Section\u00a02" in page.text
    assert "in a checkout of revision v0.1.0-3-gabc1234:" in page.text
    assert "it takes 3 boots" in " ".join(page.text.split())
    assert not re.search(r"\{\{<|>\}\}|@(fig|tbl|sec)-|:::", page.text)


def test_contents_list_every_section(page):
    listed = [link for link in page.all("a") if link.get("id", "").startswith("toc-")]
    assert len(listed) == SECTIONS


@pytest.fixture
def empty(tmp_path):
    """A summary without a single row: a page that takes no time to draw."""
    folder = tmp_path / "summary"
    folder.mkdir()
    return folder


def test_an_empty_summary_still_makes_a_page(empty, tmp_path):
    text = Page(make(empty, tmp_path / "build")).text
    assert "There are no records, so there is no answer." in text
    assert "in a copy of this code:" in text
    assert "Take its numbers as unsigned." in text


def by_pandoc(tmp_path, text, **files):
    """The fallback on a page of this text, with further files beside it."""
    build = tmp_path / "build"
    shutil.copytree(REPORT, build)
    (build / "_variables.yml").write_text('{"run": {"seed": "7"}}')
    (build / "report.qmd").write_text(f"---\ntitle: T\n---\n\n# First {{#sec-first}}\n\n{text}\n")
    for name, content in files.items():
        (build / f"_{name}.md").write_text(content)
    return Page(render.by_pandoc(build))


PICTURE = '![](own.scss){fig-alt="words"}'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("See @fig-nowhere.", "nothing has the label fig-nowhere"),
        ("See @tbl-nowhere.", "nothing has the label tbl-nowhere"),
        ("As [@someone2020] says.", "nothing has the label someone2020"),
        ("{{< video x.mp4 >}}", "unknown shortcode video x.mp4"),
        ("A {{< pagebreak >}} here.", "unknown shortcode pagebreak"),
        ("{{< var run.seed", "a shortcode is not closed"),
        ("Seed {{< var run.speed >}}.", "no variable run.speed"),
        ("{{< include _absent.md >}}", "no file _absent.md to include"),
        ("```{python}\nprint(1)\n```", "an executable cell: {python}"),
        ("```{r, echo=FALSE}\n1\n```", "an executable cell: {r, echo"),
        ("`{python} 1 + 1`", "an executable cell: {python}"),
        ("| a |\n|---|\n| 1 |\n", "a table without a label"),
        (f"::: {{#fig-a}}\n{PICTURE}\n:::", "fig-a has no caption"),
        ("::: {#fig-a}\n![](x.svg)\n\nCaption.\n:::", "a picture of fig-a has no fig-alt"),
        ("# Again {#sec-first}", "the label sec-first stands twice"),
    ],
)
def test_what_the_fallback_does_not_know_is_an_error(tmp_path, text, said):
    with pytest.raises(render.RenderError) as caught:
        by_pandoc(tmp_path, text)
    assert said in str(caught.value)
    assert "\nhint: " in str(caught.value)


def test_a_cell_in_an_included_fragment_is_an_error_too(tmp_path):
    with pytest.raises(render.RenderError, match="an executable cell"):
        by_pandoc(tmp_path, "{{< include _part.md >}}", part="```{python}\n1\n```")


def test_figures_tables_and_sections_are_numbered_and_referred_to(tmp_path):
    table = "| a |\n|---|\n| 1 |\n\n: Words {#tbl-t}\n"
    made = by_pandoc(tmp_path, f"# Second {{#sec-b}}\n\n@sec-b, @tbl-t.\n\n{table}")
    assert "Section\u00a02, Table\u00a01." in made.text
    assert "Table 1: Words" in made.text


def test_a_variable_keeps_what_stands_around_it(tmp_path):
    assert "seed (7), twice 7." in by_pandoc(
        tmp_path, "seed ({{< var run.seed >}}), twice {{< var run.seed >}}."
    ).text.replace("\n", " ")


def test_an_executable_looking_class_that_is_none_is_left_alone(tmp_path):
    assert "print(1)" in by_pandoc(tmp_path, "```{.python}\nprint(1)\n```").text


def test_a_callout_has_a_role_and_a_name(tmp_path):
    made = by_pandoc(tmp_path, '::: {.callout-note title="Mind this"}\nWords.\n:::')
    (callout,) = (d for d in made.all("div") if "callout" in (d.get("class") or "").split())
    assert (callout["role"], callout["aria-label"]) == ("note", "Mind this")


def program(path, script):
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_quarto_renders_the_same_sources_where_there_is_one(empty, tmp_path):
    script = 'echo "$@" > arguments; cat _answer.md _variables.yml _quarto.yml > page.html'
    quarto = program(tmp_path / "quarto", script)
    made = make(empty, tmp_path / "build", quarto=quarto).decode()
    assert (tmp_path / "build" / "arguments").read_text() == (
        "render report.qmd --output page.html\n"
    )
    assert "There are no records" in made
    assert "embed-resources: true" in made


def test_what_quarto_says_when_it_fails_is_in_the_error(empty, tmp_path):
    quarto = program(tmp_path / "quarto", "echo 'ERROR: no such thing' >&2; exit 3")
    with pytest.raises(render.RenderError, match="quarto could not make the page:\nERROR: no such"):
        make(empty, tmp_path / "build", quarto=quarto)
    assert not (tmp_path / "build.html").exists()


def test_a_page_is_made_afresh(empty, tmp_path):
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "_old.md").write_text("left over")
    make(empty, tmp_path / "build")
    assert not (tmp_path / "build" / "_old.md").exists()


@pytest.mark.parametrize(
    "text",
    ["{{< include /etc/passwd >}}", "<b>x</b> *y* | @tbl-z", "{{< var run.seed >}}", "```{r}```"],
)
def test_text_from_records_cannot_become_markup(tmp_path, text):
    made = by_pandoc(tmp_path, f"({tables.plain(text)}) ({tables.code(text)})")
    assert f"({text})" in made.text
    assert made.all("b") == []
