"""The dashboard for one minute: is it fine, since when, and where."""

from __future__ import annotations

from tests.watch.board import BACKEND, MODEL, Dashboard, Panel, Row
from tests.watch.queries import FIRST, GOOD, SHARE, TOKENS, B, M, quiet, rate, servers, stat, within

OVERVIEW = Dashboard(
    "gateway-overview",
    "Gateway: Overview",
    "Is it fine? The top row says so; what is below says since when and where.",
    (
        Row(
            "Is it fine?",
            (
                stat(
                    "Alerts",
                    "Alerts of the gateway that fire now. Prometheus' page Alerts names them; docs/operations/alerts.md"
                    " says what to do about each.",
                    'count(ALERTS{alertname=~"Gateway.*", alertstate="firing"}) or vector(0)',
                    "none",
                    ((None, "green"), (1, "red")),
                ),
                stat(
                    "Servers up",
                    "Share of the servers that answer with a model. Below 100 %: the panel of servers names the one.",
                    "sum(gateway_backend_up) / count(gateway_backend_up)",
                    "percentunit",
                    ((None, "red"), (0.5, "orange"), (1, "green")),
                    most=1,
                    decimals=0,
                ),
                stat(
                    "Requests that did not fail, 10 min",
                    "Requests without a 5xx error, of those whose client stayed. Below 99 %: see Errors by code.",
                    "1 - gateway:failed:ratio_rate10m or vector(1)",
                    "percentunit",
                    GOOD,
                    most=1,
                    decimals=1,
                ),
                stat(
                    "First token of 95 in 100 within, 10 min",
                    "How long nearly everybody waits for the beginning of an answer. If it rises: the panel below says"
                    " for which kind of content, the dashboard Per target at which server.",
                    within(FIRST, "", window="10m"),
                    "s",
                    ((None, "green"), (30, "orange"), (120, "red")),
                ),
                stat(
                    "Waiting for a place now",
                    "Requests that wait because every target that fits is full. If it stays: more places"
                    " (`max_in_flight`) or one more target.",
                    "sum(gateway_queued)",
                    "none",
                    ((None, "green"), (5, "orange"), (20, "red")),
                ),
                stat(
                    "Configuration",
                    "Rejected: the newest file has an error, the old one is in force. `gateway check` names the error.",
                    "min(gateway_config_last_reload_successful)",
                    "none",
                    ((None, "red"), (1, "green")),
                    said=((1.0, "in force", "green"), (0.0, "rejected", "red")),
                ),
            ),
        ),
        Row(
            "What comes, and how it ends",
            (
                Panel(
                    "Requests by outcome",
                    "refused: the request's own fault (4xx). failed: a server's or the gateway's (5xx). left: the"
                    " client went away. Much `refused` is a client with wrong settings: see Errors by code.",
                    ((rate("gateway_outcomes_total", "", "outcome"), "{{outcome}}"),),
                    "reqps",
                    stacked=True,
                ),
                Panel(
                    "Errors by code",
                    "The code is in the client's error and in the log line, too. no_target_fits: nothing here can take"
                    " that; `gateway explain` says why. upstream_*: the server's fault; see Per target.",
                    (
                        (
                            quiet(rate("gateway_requests_total", f'code!="ok", {M}', "status, code"), "code"),
                            "{{status}} {{code}}",
                        ),
                    ),
                    "reqps",
                    stacked=True,
                ),
                Panel(
                    "Time to the first token, by kind of content (p95)",
                    "From a request's head to the first content of its answer. A rise of one kind only: its servers"
                    " or its conversions (dashboard Modalities and media).",
                    ((within(FIRST, f"{M}, {B}", "modality"), "{{modality}}"),),
                    "s",
                ),
            ),
        ),
        Row(
            "Where it goes",
            (
                servers(f"{{{B}}}"),
                Panel(
                    "Requests by model",
                    "Public names that clients ask for; `other` are those that are not known here.",
                    ((rate("gateway_requests_total", M, "model"), "{{model}}"),),
                    "reqps",
                    stacked=True,
                ),
                Panel(
                    "Calls by server",
                    "More calls than requests: something is tried again elsewhere. A server without calls is down, does"
                    " not fit what is asked, or comes later in the order: `gateway explain` says which.",
                    ((rate("gateway_attempts_total", B, "backend"), "{{backend}}"),),
                    "reqps",
                    stacked=True,
                ),
            ),
        ),
        Row(
            "How much",
            (
                Panel(
                    "Tokens",
                    "As servers count them. cached are those of input that a server had read before: if they fall"
                    " while agents work, conversations move between servers.",
                    ((rate("gateway_tokens_total", f"{M}, {B}", "kind"), "{{kind}}"),),
                    TOKENS,
                ),
                Panel(
                    "Clients that left",
                    "before_first_byte and queued: they had no patience; compare the time to the first token with their"
                    " timeout.",
                    ((rate("gateway_client_disconnects_total", "", "phase"), "{{phase}}"),),
                    "reqps",
                ),
                Panel(
                    "Added by the gateway (p95)",
                    "From a request that is here whole to the call that went out for it, without waiting for a place."
                    " Above 100 ms without media: the machine is too busy, see CPU.",
                    ((within("gateway_overhead_seconds", "", "operation"), "{{operation}}"),),
                    "s",
                ),
            ),
        ),
        Row(
            "Who asks",
            (
                Panel(
                    "Requests by key",
                    "By the id of the key (`gateway keys list`). One does it all while others wait: give it a limit of"
                    " its own in the keys file. none: keys that are wrong, revoked or expired.",
                    ((rate("gateway_key_requests_total", "", "key"), "{{key}}"),),
                    "reqps",
                    stacked=True,
                ),
                Panel(
                    "Tokens by key",
                    "input is what it sends, output what it gets. Long prompts cost servers as much as many requests.",
                    ((rate("gateway_key_tokens_total", "", "key, kind"), "{{key}} {{kind}}"),),
                    TOKENS,
                    stacked=True,
                ),
                Panel(
                    "Requests by API",
                    "Which dialect clients speak, and what they want: the pages of clients say how to set each one up.",
                    ((rate("gateway_requests_total", M, "dialect, operation"), "{{dialect}} {{operation}}"),),
                    "reqps",
                    stacked=True,
                ),
            ),
        ),
        Row(
            "The gateway itself",
            (
                Panel(
                    "CPU",
                    "100 % is one core, and one process uses no more than that: near it, start a second gateway.",
                    (("rate(gateway_process_cpu_seconds_total[$__rate_interval])", "{{instance}}"),),
                    "percentunit",
                    steps=SHARE,
                ),
                Panel(
                    "Memory",
                    "bodies: requests and their media that are held now, up to `limits.memory`. If the process"
                    " grows while bodies do not, please report it.",
                    (
                        ("gateway_process_resident_memory_bytes", "process {{instance}}"),
                        ("gateway_body_bytes", "bodies {{instance}}"),
                    ),
                    "bytes",
                ),
                Panel(
                    "Reloads and errors of its own",
                    "rejected: the file has an error. bugs: the gateway's own mistakes, each with a line `bug` in the"
                    " log.",
                    (
                        ("sum by (result) (increase(gateway_config_reloads_total[$__rate_interval]))", "{{result}}"),
                        ("sum(increase(gateway_bugs_total[$__rate_interval]))", "bugs"),
                    ),
                    "none",
                ),
            ),
        ),
    ),
    (BACKEND, MODEL),
)
