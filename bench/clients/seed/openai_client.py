"""OpenAI: functions, vision, JSON mode. eval "$(causeway env openai)" first."""

import json

from openai import OpenAI

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
client = OpenAI()


def functions():
    weather = {
        "name": "get_weather",
        "description": "Current weather of a place",
        "parameters": {"type": "object", "properties": {"location": {"type": "string"}}, "required": ["location"]},
    }
    messages = [{"role": "user", "content": "What is the weather in Paris? Use the tool."}]
    tools = [{"type": "function", "function": weather}]
    message = client.chat.completions.create(model="gpt-4", messages=messages, tools=tools).choices[0].message
    call = message.tool_calls[0]
    place = json.loads(call.function.arguments)["location"]
    messages += [message, {"role": "tool", "tool_call_id": call.id, "content": f"21 degrees in {place}"}]
    answer = client.chat.completions.create(model="gpt-4", messages=messages, tools=tools).choices[0].message.content
    assert "21 degrees in Paris" in answer, answer
    return answer


def vision():
    content = [
        {"type": "text", "text": "What is in this picture?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + PIXEL}},
    ]
    answer = client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": content}]).choices[0].message.content
    assert "image/png" in answer, answer
    return answer


def json_mode():
    answer = client.chat.completions.create(
        model="gpt-3.5-turbo",
        messages=[{"role": "user", "content": "Name three harbours as JSON."}],
        response_format={"type": "json_object"},
    )
    return json.loads(answer.choices[0].message.content)


if __name__ == "__main__":
    for sample in (functions, vision, json_mode):
        print(f"{sample.__name__}: {sample()}")
