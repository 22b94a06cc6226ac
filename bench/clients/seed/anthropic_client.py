"""Anthropic: a long document, a stream. eval "$(causeway env anthropic)" first."""

from anthropic import Anthropic

client = Anthropic()


def long_document():
    document = "The harbour log says that the water was calm and the sky was grey. " * 2000
    message = client.messages.create(
        model="claude-3-5-sonnet-20241022",
        max_tokens=1000,
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": document}},
                    {"type": "text", "text": "Summarise it. Reply with exactly: A calm, grey harbour."},
                ],
            }
        ],
    )
    assert message.usage.input_tokens > 20_000, message.usage
    return message.content[0].text


def stream():
    with client.messages.stream(
        model="claude-3.5", max_tokens=1000, messages=[{"role": "user", "content": "Tell me of the tide."}]
    ) as events:
        pieces = list(events.text_stream)
    assert len(pieces) > 1, pieces
    return "".join(pieces)


if __name__ == "__main__":
    for sample in (long_document, stream):
        print(f"{sample.__name__}: {sample()}")
