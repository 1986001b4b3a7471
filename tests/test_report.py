"""The report: one page that needs nothing else, and says what it was given."""

import re
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from lookahead_rl.evaluation.plots import Curve, bars, learning_curves, value_map
from lookahead_rl.evaluation.report import Figure, Section, format_cell, write_page

ROWS = [{"agent": "<b>PPO</b>", "value": 0.123456789, "steps": 20480}, {"agent": "DQN", "value": None, "steps": 7}]


def a_page(tmp_path):
    curve = Curve([0, 1000, 2000], [0.1, 0.4, 0.5])
    figures = [
        Figure(learning_curves({"PPO": curve}, optimal=1.0, uniform=0.0), "a curve"),
        Figure(value_map(np.array([[0.1, 0.9]]), [["a", "b"]]), "a map"),
        Figure(bars({"uniform": 2.0, "Nash": 0.0}, "exploitability"), "bars"),
    ]
    path = tmp_path / "page.html"
    write_page(path, "A <title>", "lead & more", [Section("Part", ["text < text"], ROWS, figures)])
    return path.read_text(encoding="utf-8")


def test_the_page_is_self_contained(tmp_path):
    page = a_page(tmp_path)
    linked = re.findall(r"""(?:src|href)=["'](?!#|data:)([^"']+)""", page)
    assert linked == []
    assert "<script" not in page
    assert "@import" not in page


def test_text_is_escaped(tmp_path):
    page = a_page(tmp_path)
    assert "<b>PPO" not in page
    assert "&lt;b&gt;PPO&lt;/b&gt;" in page
    assert "A &lt;title&gt;" in page


def test_every_figure_is_well_formed_and_has_a_text_alternative(tmp_path):
    page = a_page(tmp_path)
    figures = re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)
    assert len(figures) == 3
    for figure in figures:
        root = ET.fromstring(figure)
        assert root.attrib["role"] == "img"
        assert root.attrib["aria-label"]


def test_tags_are_balanced(tmp_path):
    class Balance(HTMLParser):
        def __init__(self):
            super().__init__()
            self.open = []

        def handle_starttag(self, tag, attrs):
            if tag not in ("meta", "path", "use", "rect"):
                self.open.append(tag)

        def handle_endtag(self, tag):
            if tag not in ("path", "use", "rect"):
                assert self.open.pop() == tag

    parser = Balance()
    parser.feed(re.sub(r"<svg.*?</svg>", "", a_page(tmp_path), flags=re.DOTALL))
    assert parser.open == []


def test_the_same_data_give_the_same_picture():
    assert bars({"a": 1.0}, "x") == bars({"a": 1.0}, "x")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.8235294117, "0.82353"), (1.5e-9, "1.5e-09"), (0.0, "0"), (20480, "20,480"), (None, ""), ("x", "x")],
)
def test_numbers_read_well(value, text):
    assert format_cell(value) == text
