"""OpenAI's official client against a hub of tiny models (test/support/openai-hub.ts).

Arguments: address of the hub, key, a sound. The client is used as its documentation has it: base URL and key, and nothing else.
"""

import sys

import openai

url, key, sound = sys.argv[1:]
client = openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)

names = [model.id for model in client.models.list()]
assert names == sorted(names) and "org/chat" in names, names
assert client.models.retrieve("org/chat").owned_by == "org"

messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Once upon a time"}]
asked = {"model": "org/chat", "messages": messages, "temperature": 0, "max_completion_tokens": 12}
whole = client.chat.completions.create(**asked, logprobs=True, top_logprobs=2)
said = whole.choices[0].message.content
assert whole.choices[0].finish_reason == "length" and whole.usage.completion_tokens == 12, whole
assert len(whole.choices[0].logprobs.content[0].top_logprobs) == 2, whole
assert whole._request_id, "x-request-id"

chunks = list(client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
assert chunks[0].choices[0].delta.role == "assistant"
assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == said
assert chunks[-1].usage == whole.usage and not chunks[-1].choices, chunks[-1]
with client.chat.completions.stream(**asked) as stream:
    assert "".join(event.delta for event in stream if event.type == "content.delta") == said

text = {"model": "gpt2", "prompt": "Once upon a time", "max_tokens": 12}
several = client.completions.create(**text, n=3, seed=5, temperature=1.3, logprobs=2)
assert [one.index for one in several.choices] == [0, 1, 2], several
assert several.choices == client.completions.create(**text, n=3, seed=5, temperature=1.3, logprobs=2).choices
parts = client.completions.create(**text, temperature=0, stream=True)
assert "".join(part.choices[0].text for part in parts) == client.completions.create(**text, temperature=0).choices[0].text

texts = ["a fine film", "a dull one"]
packed = client.embeddings.create(model="embed-mean", input=texts)
floats = client.embeddings.create(model="embed-mean", input=texts, encoding_format="float")
for one, other in zip(packed.data, floats.data):
    assert all(abs(a - b) < 1e-6 for a, b in zip(one.embedding, other.embedding, strict=True))
assert packed.usage.prompt_tokens > 0
assert len(client.embeddings.create(model="embed-mean", input="a", dimensions=5).data[0].embedding) == 5

with open(sound, "rb") as file:
    heard = client.audio.transcriptions.create(model="whisper", file=file)
assert heard.text and heard.usage.type == "duration", heard
with open(sound, "rb") as file:
    verbose = client.audio.transcriptions.create(
        model="whisper", file=file, response_format="verbose_json", language="en", temperature=0,
        timestamp_granularities=["segment"],
    )
assert verbose.duration > 0 and verbose.segments and verbose.segments[0].end >= verbose.segments[0].start, verbose
with open(sound, "rb") as file:
    assert client.audio.transcriptions.create(model="whisper", file=file, response_format="vtt").startswith("WEBVTT")


def fails(kind, work, param=None, code=None):
    try:
        work()
    except kind as error:
        assert error.param == param and (code is None or error.code == code), (error.param, error.code)
        assert error.request_id, "x-request-id"
        return
    raise SystemExit(f"{kind.__name__} was not raised")


chat = client.chat.completions.create
tool = {"type": "function", "function": {"name": "f", "parameters": {}}}
fails(openai.BadRequestError, lambda: chat(**asked, tools=[tool]), "tools", "unsupported_parameter")
fails(openai.BadRequestError, lambda: chat(**asked, response_format={"type": "json_object"}), "response_format")
fails(openai.BadRequestError, lambda: chat(**{**asked, "model": "gpt2"}), "messages")
fails(openai.NotFoundError, lambda: chat(**{**asked, "model": "nobody"}), None, "model_not_found")
fails(openai.BadRequestError, lambda: client.embeddings.create(model="embed-mean", input=[[1, 2]]), "input")
fails(openai.BadRequestError, lambda: client.completions.create(**{**text, "prompt": "so it goes " * 60}), "prompt")
fails(openai.NotFoundError, lambda: client.responses.create(model="gpt2", input="a"))
stranger = openai.OpenAI(base_url=f"{url}/v1", api_key="guessed", max_retries=0)
fails(openai.AuthenticationError, lambda: stranger.models.list(), None, "invalid_api_key")
print("all well")
