"""`gateway worker keras`: Gemma 4 in keras-hub behind OpenAI's chat, since keras-hub has no server.

    pieces, declarations, prompt    a chat -> the prompt's markup, words and media
    media, model                    media -> arrays; loading, preprocessing and the decode loop
    sampling, forced, tokens        which token comes next; tokens -> text
    answer, engine, places          tokens -> events; the model's thread; who may wait for it
    app, serve                      HTTP; the command

Heavy packages (torch, keras, keras-hub, PyAV, Pillow: the extra `keras`) are imported when they are used. The process
is its own: nothing of this is imported by the gateway.
"""
