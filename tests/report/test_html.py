import json

import plotly.graph_objects as go

from raykd.report import html


def test_titles_are_escaped_and_contents_are_not():
    assert html.section("a < b", "<p>c</p>") == "<section><h2>a &lt; b</h2><p>c</p></section>"


def test_a_figures_data_cannot_end_its_script():
    figure = go.Figure(go.Scatter(x=[1], y=[2], name="</script><!--"), {"height": 100})
    place = html.place(figure, least=50)
    assert place.count("</script>") == 1
    assert "<!--" not in place
    assert "height:100px;min-width:50px" in place
    data = place.partition('type="application/json">')[2].removesuffix("</script>")
    assert json.loads(data)["data"][0]["name"] == "</script><!--"


def test_a_sentence_stands_in_for_a_figure():
    shown = html.figure("Title", "none <yet>", "caption")
    assert "none &lt;yet&gt;" in shown
    assert "caption" not in shown


def test_the_best_row_is_marked():
    table = html.table(["a", "b"], [["1", "2"], ["3", "4"]], best=1, texts=[1])
    assert '<tr class="best"><td class="">3</td><td class="text">4</td></tr>' in table
    assert table.count("best") == 1
