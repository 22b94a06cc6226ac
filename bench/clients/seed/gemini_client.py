"""Gemini: text beside a picture, functions. eval "$(causeway env gemini)" first."""

import base64

from google import genai
from google.genai import types

PIXEL = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")
client = genai.Client()


def multimodal():
    contents = ["What is in this picture?", types.Part.from_bytes(data=PIXEL, mime_type="image/png")]
    answer = client.models.generate_content(model="gemini-pro-vision", contents=contents).text
    assert "image/png" in answer, answer
    return answer


def get_weather(location: str) -> dict:
    """Current weather of a place."""
    return {"location": location, "celsius": 21}


def functions():
    # The SDK calls the function itself and sends its result.
    config = types.GenerateContentConfig(tools=[get_weather])
    answer = client.models.generate_content(model="gemini-pro", contents="What is the weather in Paris? Use the tool.", config=config).text
    assert "21" in answer, answer
    return answer


if __name__ == "__main__":
    for sample in (multimodal, functions):
        print(f"{sample.__name__}: {sample()}")
