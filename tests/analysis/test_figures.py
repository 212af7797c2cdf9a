import math
import re
from xml.etree import ElementTree

import pytest

from bench.analysis import figures, ink, sheets, tables

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def drawings(summary_folder):
    def rows(table, **wanted):
        return sheets.select(sheets.read(summary_folder, table), **wanted)

    transport = rows("metrics", metric="transport_round_trip", statistic="p50")
    throughput = rows("metrics", metric="throughput", statistic="median")
    return {
        "overheads": figures.overheads(rows("overhead", metric="request_latency")),
        "distributions": figures.distributions(rows("distribution", metric="request_latency")),
        "waterfall": figures.waterfall(rows("stages")),
        "transport": figures.curves(transport, xlabel="payload", log=True),
        "throughput": figures.curves(throughput, xlabel="sessions", log=False),
    }


@pytest.fixture(scope="module")
def pictures(drawings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("figures")
    for name, draw in drawings.items():
        ink.save(draw, folder, name)
    return folder


NAMES = ("overheads", "distributions", "waterfall", "transport", "throughput")


def texts(path):
    root = ElementTree.parse(path).getroot()
    return ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]


@pytest.mark.parametrize("name", NAMES)
def test_the_same_rows_give_the_same_bytes(drawings, pictures, tmp_path, name):
    ink.save(drawings[name], tmp_path, name)
    for path in tmp_path.glob("*.svg"):
        assert path.read_bytes() == (pictures / path.name).read_bytes()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("page", ["light", "dark"])
def test_a_picture_has_no_date_no_ground_and_no_picture_from_elsewhere(pictures, name, page):
    text = (pictures / f"{name}-{page}.svg").read_text()
    assert "dc:date" not in text
    assert "http://www.w3.org/1999/xhtml" not in text
    assert not re.search(r'href="(?!#)', text)
    ground = re.search(r'id="patch_1">\s*<path [^>]*style="([^"]*)"', text)
    assert ground is None or "fill: none" in ground[1] or "opacity: 0" in ground[1]


def test_printed_ratios_are_those_of_the_tables_digit_by_digit(pictures, summary_folder):
    rows = sheets.select(sheets.read(summary_folder, "overhead"), metric="request_latency")
    printed = [tables.measured(row, "ratio") for row in rows.to_dict("records")]
    said = texts(pictures / "overheads-light.svg")
    assert [text for text in said if "[" in text] == printed


def test_a_waterfall_names_every_stage_and_the_whole(pictures):
    said = texts(pictures / "waterfall-dark.svg")
    assert {"launch", "key release", "fetch"} <= set(said)
    assert sum(text.endswith("ms in all") for text in said) == 4


def test_lines_are_named_and_payloads_said_in_binary_units(pictures):
    said = texts(pictures / "transport-light.svg")
    assert {"enclave", "tcp", "64\u00a0B", "1\u00a0KiB", "64\u00a0KiB", "1\u00a0MiB"} <= set(said)


def test_the_slowest_request_is_told_though_the_axis_ends_before_it(pictures, summary_folder):
    rows = sheets.select(sheets.read(summary_folder, "distribution"), metric="request_latency")
    said = texts(pictures / "distributions-light.svg")
    slowest = {f"max {tables.number(v, digits=3)}" for v in rows.loc[rows["p"] == 1, "value"]}
    assert slowest <= set(said)


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize(("drawn", "paper"), [(ink.LIGHT, "#ffffff"), (ink.DARK, "#14181d")])
def test_every_colour_that_writes_words_can_be_read(drawn, paper):
    for colour in (drawn.text, drawn.muted, *drawn.sides.values()):
        assert contrast(colour, paper) >= 4.5, colour


def test_a_ratio_that_was_refused_is_drawn_as_words(summary_folder, tmp_path):
    rows = sheets.select(sheets.read(summary_folder, "overhead"), metric="cold_start")
    refused = rows.assign(status="no parity", ratio=math.nan, low=math.nan, high=math.nan)
    ink.save(figures.overheads(refused), tmp_path, "refused")
    said = texts(tmp_path / "refused-light.svg")
    assert said.count("no parity") == len(rows)
