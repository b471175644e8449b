#!/usr/bin/env python3
"""Bregman representations: which ranks of the layers teach best (Amid et al., TMLR 2023)?

Extended Bregman PCA represents the teacher's logits and pooled features, each with a rank of its
own. The representations are fixed layers behind the student, which predicts their coefficients. The
study searches both ranks and the weights of the losses. The paper does not give its objective and
ranks for distillation, so the search space is assumed. Each rank is fitted once, for all trials.

A ResNet-8 of 24-48-96 channels teaches one of 6-12-24 to read the glyphs' 100 characters.
24 trials of 8 epochs in cohorts of 4 take some 40 minutes on two cores.

    python studies/bregman_ranks.py

Besides the report, `ranks.html` in the study's folder shows accuracy and reconstruction loss
against rank. A low reconstruction loss is no aim in itself; `raykd pareto` shows the trade-off.
"""

from functools import partial

import plotly.graph_objects as go
from optuna.distributions import FloatDistribution, IntDistribution
from plotly.subplots import make_subplots

from raykd.data.glyphs import Glyphs
from raykd.data.synthetic import Synthetic
from raykd.methods.bregman import Bregman
from raykd.methods.kd import KD
from raykd.methods.vanilla import Vanilla
from raykd.models.resnet import resnet8w6, resnet8w24
from raykd.report import formatting, plots
from raykd.report.results import Results
from raykd.store import Study as Stored
from raykd.study import Study

LAYERS = {"logits": "nats", "pooled": "sum over the features"}

study = Study(
    name="bregman_ranks",
    data=Glyphs,
    teacher=resnet8w24,
    student=resnet8w6,
    method=Bregman,
    space={
        "rank_logits": IntDistribution(1, 64, log=True),
        "rank_pooled": IntDistribution(1, 64, log=True),
        "match": FloatDistribution(0.1, 10, log=True),
        "coef": FloatDistribution(0.001, 0.1, log=True),
        "head": FloatDistribution(0.1, 10, log=True),
    },
    first=[{"rank_logits": 16, "rank_pooled": 16, "coef": 0.01}],  # assumed
    references=[Vanilla, KD],
    metric="val_top1",
    mode="max",
    trials=24,
    cohort=4,
    epochs=8,
    milestones=(5, 7),
    smoke={
        "data": partial(Synthetic, classes=100, shape=(1, 32, 32), samples=300, tests=32),
        "epochs": 2,
        "trials": 2,
        "cohort": 2,
    },
)


def ranks(results: Results) -> go.Figure:
    """Returns plots of accuracy (above) and reconstruction (below) against each layer's rank."""
    metrics = {layer: (results.metric, f"reconstruction_{layer}") for layer in LAYERS}
    figure = make_subplots(2, len(LAYERS), shared_xaxes=True, vertical_spacing=0.06)
    trials = results.ranked()
    for column, (layer, rows) in enumerate(metrics.items(), 1):
        rank = [trial.config[f"rank_{layer}"] for trial in trials]
        for row, metric in enumerate(rows, 1):
            dots = go.Scatter(
                x=rank,
                y=[trial.mean(metric) for trial in trials],
                text=[f"{trial.name}: {formatting.settings(trial.config)}" for trial in trials],
                mode="markers",
                marker={"color": plots.COLOURS["best"], "size": 8},
            )
            figure.add_trace(dots, row, column)
        figure.update_yaxes(title_text=formatting.title(results.metric), row=1, col=column)
        loss = f"reconstruction ({LAYERS[layer]})"
        figure.update_yaxes(title_text=loss, type="log", row=2, col=column)
        figure.update_xaxes(title_text=f"rank_{layer}", row=2, col=column)
    figure.update_xaxes(type="log", dtick=0.30103)  # powers of two
    figure.update_layout(template="plotly_white", showlegend=False, title=results.study.name)
    return figure


def show(stored: Stored) -> None:
    """Writes `ranks.html` beside the report; it can be opened without a network connection."""
    page = ranks(Results(stored)).to_html(include_plotlyjs=True)
    stored.folder.write("ranks.html", page.encode())
    print(f"accuracy and reconstruction against rank: {stored.folder.uri}/ranks.html")


if __name__ == "__main__":
    study.main(after=show)
