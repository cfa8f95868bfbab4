"""The dashboard about one server, or several."""

from __future__ import annotations

from tests.watch.board import BACKEND, MODEL, Dashboard, Panel, Row
from tests.watch.queries import FIRST, NONE_IS_GOOD, SHARE, TOKENS, UP, B, M, quiet, rate, servers, stat, within

TARGETS = Dashboard(
    "gateway-targets",
    "Gateway: Per target",
    "One server or several: how they are, how full, how fast, and what comes back from them.",
    (
        Row(
            "Is it fine?",
            (
                stat(
                    "Up",
                    "Down: at least one of the chosen servers does not answer with a model. `gateway doctor` says why.",
                    f"min(gateway_backend_up{{{B}}})",
                    "none",
                    ((None, "red"), (1, "green")),
                    said=UP,
                ),
                stat(
                    "Calls that failed, 10 min",
                    "Of the calls to the chosen servers. Calls by outcome names the errors.",
                    f'sum(rate(gateway_attempts_total{{{B}, outcome!~"ok|cancelled"}}[10m]))'
                    f" / (sum(rate(gateway_attempts_total{{{B}}}[10m])) > 0) or vector(0)",
                    "percentunit",
                    ((None, "green"), (0.01, "orange"), (0.05, "red")),
                    decimals=1,
                ),
                stat(
                    "Places taken",
                    "Of the fullest of the chosen servers. At 100 % requests wait: raise `max_in_flight` if the server"
                    " has room, or add a target.",
                    f"max(backend:places_taken:ratio{{{B}}})",
                    "percentunit",
                    SHARE,
                    decimals=0,
                ),
                stat(
                    "Left alone now",
                    "Targets that failed five times in a row and get nothing for a while. Their own log says why.",
                    f"sum(gateway_ejected{{{B}}})",
                    "none",
                    NONE_IS_GOOD,
                ),
                stat(
                    "Wait for a place (p95), 10 min",
                    "Of the requests that had to wait at all; 0 = none had to.",
                    f"({within('gateway_queue_seconds', B, window='10m')} >= 0) or vector(0)",
                    "s",
                    ((None, "green"), (10, "orange"), (60, "red")),
                ),
                stat(
                    "Tokens written",
                    "By all of the chosen servers together.",
                    f'sum(rate(gateway_tokens_total{{{B}, {M}, kind="output"}}[$__rate_interval]))',
                    TOKENS,
                    ((None, "blue"),),
                ),
            ),
        ),
        Row(
            "State",
            (
                servers(f"{{{B}}}"),
                Panel(
                    "Targets by state",
                    "mismatch: the server has another model than the configuration says. loading: it takes requests"
                    " soon. cold: it loads a model when it is asked. unprobed: nobody has answered there yet.",
                    ((f"sum by (state) (gateway_target_state{{{B}}})", "{{state}}"),),
                    "none",
                    stacked=True,
                ),
                Panel(
                    "Left alone after failures",
                    "Five failures in a row, and a target gets nothing for a while; the last one that fits is asked"
                    " once a second. Look at Calls by outcome and the server's log of that moment.",
                    (
                        (
                            f"sum by (backend) (increase(gateway_ejections_total{{{B}}}[$__rate_interval]))",
                            "{{backend}}",
                        ),
                        (f"gateway_ejected{{{B}}}", "{{backend}} now"),
                    ),
                    "none",
                ),
            ),
        ),
        Row(
            "Load",
            (
                Panel(
                    "Requests there, and the most that may be",
                    "At its limit for long: raise `max_in_flight` if the server batches more (`--parallel`,"
                    " `--max-num-seqs`), or add a target.",
                    (
                        (f"gateway_in_flight{{{B}}}", "{{backend}}"),
                        (f"gateway_in_flight_limit{{{B}}}", "{{backend}} limit"),
                    ),
                    "none",
                ),
                Panel(
                    "How full: places and KV cache",
                    "A KV cache near 100 % makes a server put requests back: give it more memory for the cache or a"
                    " shorter context. Only vLLM, NIM and a few others tell theirs.",
                    (
                        (f"backend:places_taken:ratio{{{B}}}", "{{backend}} places"),
                        (f"gateway_cache_used_ratio{{{B}}}", "{{backend}} cache"),
                    ),
                    "percentunit",
                ),
                Panel(
                    "Waiting, and requests of others",
                    "waiting: ours, for a place. of others: what the server does for those who use it directly; then"
                    " the gateway prefers other servers.",
                    (
                        (f"gateway_queued{{{B}}}", "{{backend}} waiting"),
                        (f"gateway_others{{{B}}}", "{{backend}} of others"),
                    ),
                    "none",
                ),
            ),
        ),
        Row(
            "Speed",
            (
                Panel(
                    "Time to the first token (p50, p95)",
                    "High p95 with low p50: some prompts are long or wait. Both high: the server is slow or full.",
                    (
                        (within(FIRST, f"{B}, {M}", "backend", share=0.5), "{{backend}} p50"),
                        (within(FIRST, f"{B}, {M}", "backend"), "{{backend}} p95"),
                    ),
                    "s",
                ),
                Panel(
                    "Time between tokens (p50, p95)",
                    "How fast text appears. It rises with the number of requests at the server: lower `max_in_flight`"
                    " if it must stay readable.",
                    (
                        (
                            within("gateway_time_between_tokens_seconds", f"{B}, {M}", "backend", share=0.5),
                            "{{backend}} p50",
                        ),
                        (within("gateway_time_between_tokens_seconds", f"{B}, {M}", "backend"), "{{backend}} p95"),
                    ),
                    "s",
                ),
                Panel(
                    "Tokens by server",
                    "input is read, output written. Of input, cached had not to be read again.",
                    ((rate("gateway_tokens_total", f"{B}, {M}", "backend, kind"), "{{backend}} {{kind}}"),),
                    TOKENS,
                ),
            ),
        ),
        Row(
            "What comes back",
            (
                Panel(
                    "Calls by outcome",
                    "upstream_connect_error: nobody listens. upstream_timeout: too slow, or hung. upstream_truncated,"
                    " upstream_reset: it ended in the middle, look at its log. cancelled: the client left.",
                    (
                        (
                            f"{rate('gateway_attempts_total', B, 'backend, outcome')} > 0 or "
                            + rate("gateway_attempts_total", f'{B}, outcome="ok"', "backend, outcome"),
                            "{{backend}} {{outcome}}",
                        ),
                    ),
                    "reqps",
                    stacked=True,
                ),
                Panel(
                    "What was wrong in answers",
                    "What the gateway repaired (docs/answers.md): much of `markup` means a server without its parser"
                    " for tools and thoughts; `gateway doctor` names the flag.",
                    (
                        (
                            quiet(rate("gateway_repairs_total", B, "backend, reason"), "reason"),
                            "{{backend}} {{reason}}",
                        ),
                        (quiet(rate("gateway_runaways_total", B, "backend, sign"), "sign"), "{{backend}} {{sign}}"),
                    ),
                    "cps",
                ),
                Panel(
                    "Facts that changed, seconds for nobody",
                    "A fact that changes: the server was updated or started with other flags; `gateway caps` shows"
                    " them. Seconds for nobody: it went on although its client had left.",
                    (
                        (
                            quiet(
                                f"sum by (backend, fact) (increase(gateway_drift_total{{{B}}}[$__rate_interval]))",
                                "fact",
                            ),
                            "{{backend}} {{fact}}",
                        ),
                        (
                            f"sum by (backend) (increase(gateway_orphaned_seconds_total{{{B}}}[$__rate_interval]))",
                            "{{backend}} s for nobody",
                        ),
                    ),
                    "short",
                ),
            ),
        ),
    ),
    (BACKEND, MODEL),
)
