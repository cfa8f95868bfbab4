"""The dashboard about what people send beside text."""

from __future__ import annotations

from tests.watch.board import BACKEND, MODEL, Dashboard, Panel, Row, Variable
from tests.watch.queries import FIRST, GOOD, NONE_IS_GOOD, B, K, M, rate, stat, total, within

MEDIA = Dashboard(
    "gateway-media",
    "Gateway: Modalities and media",
    "What people send beside text, what became of it, and what it took.",
    (
        Row(
            "Is it fine?",
            (
                stat(
                    "Requests with media that did not fail, 10 min",
                    "Without a 5xx error, of those whose client stayed. Failures by kind says which kind it is.",
                    '1 - sum(rate(gateway_outcomes_total{modality!="text", outcome="failed"}[10m]))'
                    ' / (sum(rate(gateway_outcomes_total{modality!="text", outcome!="left"}[10m])) > 0) or vector(1)',
                    "percentunit",
                    GOOD,
                    most=1,
                    decimals=1,
                ),
                stat(
                    "Parts refused, 1 h",
                    "Media that no target takes, or that are broken. `gateway explain` with the request says what would"
                    " have to change.",
                    total("gateway_parts_total", f'{K}, fate="refused"', "1h"),
                    "none",
                    NONE_IS_GOOD,
                    decimals=0,
                ),
                stat(
                    "Parts dropped, 1 h",
                    "The sound of videos that went to a target without ears; the answer said so. Add one that hears, or"
                    " let clients send `parts: strict`.",
                    total("gateway_parts_total", f'{K}, fate="dropped"', "1h"),
                    "none",
                    NONE_IS_GOOD,
                    decimals=0,
                ),
                stat(
                    "Conversions that failed, 1 h",
                    "Broken media, or a worker that was ended because it took too much. The client's error names the"
                    " part; without `ffmpeg` and the extra `media` nothing can be converted.",
                    total("gateway_media_conversions_total", 'result!="ok"', "1h"),
                    "none",
                    NONE_IS_GOOD,
                    decimals=0,
                ),
                stat(
                    "Kept here by privacy, 1 h",
                    "Requests that only a hosted server could have taken, and `privacy` forbids it. Add a local target"
                    " that takes them, or change `privacy`.",
                    "sum(increase(gateway_privacy_refusals_total[1h])) or vector(0)",
                    "none",
                    NONE_IS_GOOD,
                    decimals=0,
                ),
                stat(
                    "A conversion (p95), 10 min",
                    "With the wait for a worker; 0 = nothing had to be converted.",
                    f"({within('gateway_media_conversion_seconds', '', window='10m')} >= 0) or vector(0)",
                    "s",
                    ((None, "green"), (5, "orange"), (30, "red")),
                ),
            ),
        ),
        Row(
            "By kind of content",
            (
                Panel(
                    "Requests in the last hour",
                    "A request counts as the heaviest kind in it: video, sound, document, picture, text.",
                    ((f"sum by (modality) (increase(gateway_outcomes_total{{{K}}}[1h]))", "{{modality}}"),),
                    "none",
                    "bargauge",
                    steps=((None, "blue"),),
                    decimals=0,
                ),
                Panel(
                    "Requests",
                    "Whether it comes at all: a kind that stopped is a client that gave up, or was refused.",
                    ((rate("gateway_outcomes_total", K, "modality"), "{{modality}}"),),
                    "reqps",
                    stacked=True,
                ),
                Panel(
                    "Failures by kind, 10 min",
                    "Share of 5xx errors. One kind only: the servers that take it (dashboard Per target).",
                    ((f"modality:failed:ratio_rate10m{{{K}}}", "{{modality}}"),),
                    "percentunit",
                    most=1,
                ),
                Panel(
                    "Time to the first token (p95)",
                    "Reading a picture or a video takes a model far longer than text. Conversions are included.",
                    ((within(FIRST, f"{K}, {M}, {B}", "modality"), "{{modality}}"),),
                    "s",
                ),
                Panel(
                    "The same over 10 min, and its limit",
                    "Above its limit for five minutes: the alert GatewayFirstTokenSlow. The limits are in rules.yml.",
                    (
                        (f"modality:gateway_time_to_first_token_seconds:p95_10m{{{K}}}", "{{modality}}"),
                        (f"modality:gateway_time_to_first_token_seconds:limit{{{K}}}", "{{modality}} limit"),
                    ),
                    "s",
                ),
                Panel(
                    "Parts by kind",
                    "Content parts of the requests that reached a server or were refused: one request may have many.",
                    ((rate("gateway_parts_total", K, "modality"), "{{modality}}"),),
                    "cps",
                    stacked=True,
                ),
            ),
        ),
        Row(
            "What became of the parts",
            (
                Panel(
                    "Parts by what became of them",
                    "delivered as they came, transformed for the target (the answer says how), dropped, refused. No"
                    " part is lost without one of these.",
                    ((rate("gateway_parts_total", K, "fate"), "{{fate}}"),),
                    "cps",
                    stacked=True,
                ),
                Panel(
                    "Transformed, by kind",
                    "Each costs time here and perhaps quality: a target that takes the medium as it is goes first"
                    " wherever there is one.",
                    ((rate("gateway_parts_total", f'{K}, fate="transformed"', "modality"), "{{modality}}"),),
                    "cps",
                    stacked=True,
                ),
                Panel(
                    "Dropped and refused, by kind",
                    "The receipt of the answer (`x-gateway-parts`) and the error say which part and why.",
                    (
                        (
                            rate("gateway_parts_total", f'{K}, fate=~"dropped|refused"', "modality, fate"),
                            "{{modality}} {{fate}}",
                        ),
                    ),
                    "cps",
                ),
            ),
        ),
        Row(
            "What it took",
            (
                Panel(
                    "Conversions",
                    "By what was made. What is wanted again within minutes is kept and not made again. refused: the"
                    " medium is broken. failed: too many at once.",
                    ((rate("gateway_media_conversions_total", "", "made, result"), "{{made}} {{result}}"),),
                    "cps",
                ),
                Panel(
                    "How long a conversion took (p95)",
                    "With the wait for a worker. If it rises with the number of conversions, the machine has too few"
                    " cores for them.",
                    (
                        (
                            f"({within('gateway_media_conversion_seconds', '', 'made')} >= 0)"
                            ' or label_replace(vector(0), "made", "none", "", "")',
                            "{{made}}",
                        ),
                    ),
                    "s",
                ),
                Panel(
                    "Fetched by URL, and how long it took (p95)",
                    "refused: the address is not allowed (`media.remote`), or its server did not give it.",
                    (
                        (rate("gateway_media_fetches_total", "", "result"), "{{result}} per second"),
                        (f"({within('gateway_media_fetch_seconds', '')} >= 0) or vector(0)", "seconds"),
                    ),
                    "short",
                ),
            ),
        ),
    ),
    (Variable("modality", "Kind of content", "label_values(gateway_outcomes_total, modality)"), BACKEND, MODEL),
)
