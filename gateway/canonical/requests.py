"""What a client may ask for. One class per operation; `Chat` is the one that everything else leans on."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

from gateway.canonical.content import Audio, Extra, Message

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


@dataclass(slots=True)
class Tool:
    """A function that the model may call. `parameters` is a JSON schema; None means that none was declared.

    `kind` custom: free-form text input, `format` says its grammar.
    """

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    kind: Literal["function", "custom"] = "function"
    format: dict[str, Any] | None = None
    extra: Extra | None = None


@dataclass(slots=True)
class ToolChoice:
    """`auto`, `none`, `required` (some tool), or `named` (the one in `names`).

    `names` with auto or required: only these of the declared tools are allowed.
    """

    mode: Literal["auto", "none", "required", "named"] = "auto"
    names: list[str] | None = None


@dataclass(slots=True)
class Sampling:
    """How tokens are chosen. None = the client said nothing: the server's own default holds."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    seed: int | None = None
    max_tokens: int | None = None
    stop: list[str] | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: float | None = None
    logit_bias: dict[str, float] | None = None


@dataclass(slots=True)
class OutputFormat:
    """`json_object`: any JSON object. `json_schema`: one that `schema` allows; `strict` = it must be checked.
    `choice`: one of the texts in `choices`, as it stands there."""

    kind: Literal["json_object", "json_schema", "choice"]
    name: str | None = None
    schema: dict[str, Any] | None = None
    description: str | None = None
    strict: bool | None = None
    choices: list[str] | None = None
    path: str = field(default="", compare=False, repr=False)
    """Where the schema stood in the client's body."""


@dataclass(slots=True)
class ThinkingConfig:
    """What the client asked about thinking. `enabled` None = nothing was asked. `budget` in tokens."""

    enabled: bool | None = None
    effort: Effort | None = None
    budget: int | None = None
    include: bool = True


@dataclass(slots=True)
class Options:
    """The gateway's own field of a request: it narrows the targets, never widens them, and is never forwarded.

    `require` holds match fields (`kind`, `variant`, `quantization`, `hardware`, `backend`, ...) -> allowed values.
    `strict_parts`: every part arrives as it came. `strict_parameters`: every parameter that was sent arrives.
    `tenant`: whose request it is, an opaque text ("" = there is only one); set by the engine, never by a client. A
    server that keeps prompts of several apart gets it.
    """

    require: dict[str, list[str]] = field(default_factory=dict)
    prefer: list[dict[str, list[str]]] = field(default_factory=list)
    strict_parts: bool = False
    reasoning_field: Literal["reasoning_content", "reasoning", "both"] = "reasoning_content"
    strict_parameters: bool = False
    tenant: str = ""


@dataclass(slots=True)
class Bound:
    """A field that only one dialect has and that changes what the answer means (a tool that the API's maker runs, a
    prompt that it keeps). A server of that dialect gets it; anywhere else an `offer` is dropped and named by its
    `path`, and whatever is no offer is refused by it."""

    dialect: str
    name: str
    value: Any
    offer: bool = False
    path: str = field(default="", compare=False, repr=False)


@dataclass(slots=True)
class Chat:
    model: str
    messages: list[Message]
    tools: list[Tool] = field(default_factory=list)
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    sampling: Sampling = field(default_factory=Sampling)
    choices: int = 1
    logprobs: bool = False
    top_logprobs: int | None = None
    output: OutputFormat | None = None
    thinking: ThinkingConfig = field(default_factory=ThinkingConfig)
    audio_out: bool = False
    stream: bool = False
    include_usage: bool = False
    prefill: bool = False
    options: Options = field(default_factory=Options)
    extra: Extra | None = None
    bound: list[Bound] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list, compare=False)
    """Fields that the dialect knows to be labels or tuning no server here has: named in `x-gateway-dropped`."""
    client: object | None = field(default=None, compare=False, repr=False)
    """What the client's own dialect remembers of the request to write the answer; no other layer looks at it."""


@dataclass(slots=True)
class Completion:
    """Raw text completion. `prompt`: texts, or token ids, one entry per prompt."""

    model: str
    prompt: list[str] | list[list[int]]
    suffix: str | None = None
    echo: bool = False
    best_of: int | None = None
    sampling: Sampling = field(default_factory=Sampling)
    choices: int = 1
    logprobs: int | None = None
    stream: bool = False
    include_usage: bool = False
    options: Options = field(default_factory=Options)
    extra: Extra | None = None
    dropped: list[str] = field(default_factory=list, compare=False)
    client: object | None = field(default=None, compare=False, repr=False)


@dataclass(slots=True)
class Embedding:
    model: str
    input: list[str] | list[list[int]]
    dimensions: int | None = None
    encoding_format: Literal["float", "base64"] | None = None
    options: Options = field(default_factory=Options)
    extra: Extra | None = None
    dropped: list[str] = field(default_factory=list, compare=False)


@dataclass(slots=True)
class CountTokens:
    """How many tokens `chat` would cost as a prompt."""

    chat: Chat

    @property
    def model(self) -> str:
        return self.chat.model

    @property
    def options(self) -> Options:
        return self.chat.options


@dataclass(slots=True)
class Transcription:
    """What is said in a recording: in the language in which it is said, or in English (`translate`).

    `sound` may be a video, whose sound track is meant. `language`: the one that is spoken, as the client wrote it.
    `prompt`: words that set the scene or spell names. `timestamps` (`word`, `segment`): what the answer must tell the
    times of. `verbose`: it tells what else is known."""

    model: str
    sound: Audio
    translate: bool = False
    language: str | None = None
    prompt: str | None = None
    sampling: Sampling = field(default_factory=Sampling)
    timestamps: list[str] = field(default_factory=list)
    form: Literal["json", "text", "verbose_json"] = "json"
    stream: bool = False
    options: Options = field(default_factory=Options)
    dropped: list[str] = field(default_factory=list, compare=False)

    @property
    def operation(self) -> Literal["transcription", "translation"]:
        return "translation" if self.translate else "transcription"


RelayedOperation = Literal["rerank", "speech", "images", "infill"]


@dataclass(slots=True)
class Relayed:
    """A request whose answer is passed on as it comes, by a server whose facts list the operation. It holds texts only:
    `fields` are those that were looked at, as they go to the server."""

    operation: RelayedOperation
    model: str
    fields: dict[str, Any]
    options: Options = field(default_factory=Options)
    extra: Extra | None = None
    dropped: list[str] = field(default_factory=list, compare=False)


Request = Chat | Completion | Embedding | CountTokens | Transcription | Relayed


def conversation(request: Request) -> Chat | None:
    """The request as a chat, where it has parts: what is done to parts is done to those of all requests alike."""
    if isinstance(request, Chat):
        return request
    if isinstance(request, CountTokens):
        return request.chat
    if isinstance(request, Transcription):
        return Chat(request.model, [Message("user", [request.sound])], stream=request.stream)
    return None


def with_conversation(request: Request, chat: Chat) -> Request:
    """The request with the parts of `chat`: the inverse of `conversation`."""
    if isinstance(request, CountTokens):
        return replace(request, chat=chat)
    if isinstance(request, Transcription):
        return replace(request, sound=cast(Audio, chat.messages[0].parts[0]))
    return chat
