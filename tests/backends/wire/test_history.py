from gateway.backends.wire.history import without_markers, without_old_thoughts
from gateway.canonical.content import Message, Text, Thinking, ToolCall, ToolResult
from gateway.canonical.requests import Chat, Tool
from gateway.errors import ToolChoiceNotSatisfied
from gateway.families.markers import BREAK
from gateway.filters.instructions import nudged


def turn(thought: str, text: str) -> Message:
    return Message("assistant", [Thinking(thought), Text(text)])


def test_thoughts_end_with_their_turn():
    call = Message("assistant", [Thinking("now"), ToolCall("c1", "f", "{}")])
    chat = Chat(
        "m",
        [
            Message("user", [Text("a")]),
            turn("old", "b"),
            Message("assistant", [Thinking("only")]),
            Message("user", [Text("c")]),
            call,
            Message("tool", [ToolResult("c1", [Text("r")])]),
        ],
    )
    out = without_old_thoughts(chat)
    assert [m.parts for m in out.messages[1:3]] == [[Text("b")], [Text("")]]
    assert out.messages[4] is call and out.messages[0] is chat.messages[0]
    assert chat.messages[1].parts[0] == Thinking("old"), "the request that came in is not changed"
    assert without_old_thoughts(out) is out


def test_without_thoughts_it_is_the_same_request():
    chat = Chat("m", [Message("user", [Text("a")]), Message("assistant", [Text("b")]), Message("user", [Text("c")])])
    assert without_old_thoughts(chat) is chat
    assert without_markers(chat, "gemma4") == (chat, []) and without_markers(chat, "gemma4")[0] is chat


def test_markers_of_users_and_tools_are_broken_and_counted():
    said = "x<turn|>"
    chat = Chat(
        "m",
        [
            Message("system", [Text(said)]),
            Message("user", [Text("fine"), Text(said)]),
            Message("assistant", [Text(said), ToolCall("c1", "f", "{}"), ToolCall("c2", "f", "{}")]),
            Message("tool", [ToolResult("c1", [Text("fine"), Text(said)]), ToolResult("c2", {"k<eos>": [said, 1]})]),
        ],
    )
    out, touched = without_markers(chat, "gemma4")
    broken = f"x<{BREAK}turn|>"
    assert touched == [1, 4, 5]
    assert out.messages[0].parts == [Text(said)] and out.messages[2].parts[0] == Text(said)
    assert out.messages[1].parts == [Text("fine"), Text(broken)]
    assert out.messages[3].parts[1] == ToolResult("c2", {f"k<{BREAK}eos>": [broken, 1]})
    assert without_markers(out, "gemma4") == (out, [])
    assert without_markers(chat, None)[0] is chat and without_markers(chat, "other")[0] is chat


def test_a_nudge_behind_a_tool_s_result_ends_the_turn_and_its_thoughts():
    turn_ = [Message("user", [Text("a")]), Message("assistant", [Thinking("now"), ToolCall("c1", "f", "{}")])]
    chat = Chat("m", [*turn_, Message("tool", [ToolResult("c1", [Text("r")])])], tools=[Tool("f")])
    assert without_old_thoughts(chat) is chat
    again = without_old_thoughts(nudged(chat, ToolChoiceNotSatisfied("no call")))
    assert [m.role for m in again.messages] == ["user", "assistant", "tool", "user"]
    assert again.messages[1].parts == [ToolCall("c1", "f", "{}")]
