"""Gemma 4's own output, read from text: https://ai.google.dev/gemma/docs/core and the model's chat template.

    [<|channel>thought\\n ... <channel|>] text [<|tool_call>call:NAME{ ... }<tool_call|>]* text <turn|>

    pair  := KEY ':' value          KEY := bare text without ':' | DELIM text DELIM
    value := DELIM text DELIM | number | true | false | null | '{' pairs '}' | '[' values ']'
    DELIM := <|"|>                  text: anything but DELIM; there are no escapes

`grammar` holds the markers, `arguments` reads what stands between the braces, `schema` says which type a declared
parameter has, `calls` reads one call, `block` finds where a call ends as it comes, `reader` puts it all together.
"""
