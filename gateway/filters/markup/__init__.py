"""What families of models say in their text when the server does not read it: calls and thoughts between markers.

One reader per family turns the text of one choice into pieces, piece by piece as it comes; `rewrite.MarkupFilter` turns
events into text for a reader and its pieces into events again. Rules that hold for every reader:

- What a reader decides depends on the text alone, never on how it was cut: streamed and whole results are equal.
- Text without markers goes through at once. What could become a marker is held, never more.
- A malformed call is never made executable: its text is shown without the markers, and `repairs` says so.
- Markup inside a closed code block or inline code, or directly in quotes, is talked about and left alone.
"""
