"""The vendors' own SDKs."""

import json

import anthropic
from google import genai
from google.genai import errors, types

from core import Answer, NotApplicable, once

FINISH = {"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "tool_use": "tool_calls"}


def data_url(image):
    return "data:image/png;base64," + image


class OpenAI:
    package, family = "openai", "openai"

    @staticmethod
    @once
    def client(base, key):
        import openai  # not in every set of packages

        return openai.OpenAI(base_url=base + "/v1", api_key=key, max_retries=0)

    def sdk(self, r):
        return self.client(r.base, r.key)

    def failure(self, e):
        return type(e).__name__, getattr(e, "status_code", None)


class OpenAIChat(OpenAI):
    name = "openai chat"

    def embed(self, r, texts):
        return [d.embedding for d in self.sdk(r).embeddings.create(model=r.model, input=texts).data]

    def ask(self, r):
        messages = [{"role": "system", "content": r.system}]
        for h in r.history:
            if "turn" in h:
                messages.append(h["turn"])
                messages += [{"role": "tool", "tool_call_id": t["id"], "content": t["text"]} for t in h["results"]]
            elif h["image"]:
                messages.append({"role": "user", "content": [{"type": "text", "text": h["user"]}, {"type": "image_url", "image_url": {"url": data_url(h["image"])}}]})
            else:
                messages.append({"role": "user", "content": h["user"]})
        body = {"model": r.model, "messages": messages, "max_completion_tokens": r.max}
        if r.tools:
            body["tools"] = [{"type": "function", "function": {**f, "strict": True}} for f in r.tools]
        if r.schema:
            body["response_format"] = {"type": "json_schema", "json_schema": {**r.schema, "strict": True}}
        if r.stop:
            body["stop"] = r.stop
        if r.think:
            body["reasoning_effort"] = "low"
        chunks = 0
        if r.stream:
            with self.sdk(r).chat.completions.stream(**body, stream_options={"include_usage": True}) as stream:
                for e in stream:
                    if e.type == "chunk":
                        chunks += 1
                        r.chunk()
                got = stream.get_final_completion()
        else:
            got = self.sdk(r).chat.completions.create(**body)
        choice = got.choices[0]
        calls = [{"id": c.id, "name": c.function.name, "args": json.loads(c.function.arguments)} for c in choice.message.tool_calls or []]
        turn = {"role": "assistant", "content": choice.message.content}
        if calls:
            turn["tool_calls"] = [{"id": c["id"], "type": "function", "function": {"name": c["name"], "arguments": json.dumps(c["args"])}} for c in calls]
        details = got.usage.completion_tokens_details
        return Answer(
            text=choice.message.content or "",
            thinking="",
            calls=calls,
            finish=choice.finish_reason,
            in_=got.usage.prompt_tokens,
            out=got.usage.completion_tokens,
            reasoning=details and details.reasoning_tokens,
            chunks=chunks,
            turn=turn,
        )


class OpenAIResponses(OpenAI):
    name = "openai responses"

    def ask(self, r):
        if r.stop:
            raise NotApplicable("the Responses API has no stop sequences")
        items = []
        for h in r.history:
            if "turn" in h:
                items += h["turn"]
                items += [{"type": "function_call_output", "call_id": t["id"], "output": t["text"]} for t in h["results"]]
            elif h["image"]:
                items.append({"role": "user", "content": [{"type": "input_text", "text": h["user"]}, {"type": "input_image", "detail": "auto", "image_url": data_url(h["image"])}]})
            else:
                items.append({"role": "user", "content": h["user"]})
        body = {"model": r.model, "instructions": r.system, "input": items, "max_output_tokens": r.max, "store": False}
        if r.tools:
            body["tools"] = [{"type": "function", "strict": True, **f} for f in r.tools]
        if r.schema:
            body["text"] = {"format": {"type": "json_schema", "strict": True, **r.schema}}
        if r.think:
            body.update(reasoning={"effort": "low", "summary": "auto"}, include=["reasoning.encrypted_content"])
        chunks = 0
        if r.stream:
            with self.sdk(r).responses.stream(**body) as stream:
                for e in stream:
                    if e.type.endswith(".delta"):
                        chunks += 1
                        r.chunk()
                got = stream.get_final_response()
        else:
            got = self.sdk(r).responses.create(**body)
        calls = [{"id": o.call_id, "name": o.name, "args": json.loads(o.arguments)} for o in got.output if o.type == "function_call"]
        finish = "tool_calls" if calls else "stop"
        return Answer(
            text=got.output_text,
            thinking="".join(s.text for o in got.output if o.type == "reasoning" for s in o.summary),
            calls=calls,
            finish=finish if got.status == "completed" else got.status,
            in_=got.usage.input_tokens,
            out=got.usage.output_tokens,
            reasoning=got.usage.output_tokens_details.reasoning_tokens,
            chunks=chunks,
            turn=[o.model_dump(exclude_none=True, exclude={"parsed_arguments"}) for o in got.output],
        )


class Anthropic:
    package, family = "anthropic", "anthropic"

    def __init__(self, name="anthropic"):
        self.name = name

    @staticmethod
    @once
    def client(base, key):
        return anthropic.Anthropic(base_url=base, api_key=key, max_retries=0)

    def sdk(self, r):
        return self.client(r.base, r.key)

    def failure(self, e):
        return type(e).__name__, getattr(e, "status_code", None)

    @staticmethod
    def body(r):
        messages = []
        for h in r.history:
            if "turn" in h:
                messages.append({"role": "assistant", "content": h["turn"]})
                messages.append({"role": "user", "content": [{"type": "tool_result", "tool_use_id": t["id"], "content": t["text"]} for t in h["results"]]})
            elif h["image"]:
                source = {"type": "base64", "media_type": "image/png", "data": h["image"]}
                messages.append({"role": "user", "content": [{"type": "image", "source": source}, {"type": "text", "text": h["user"]}]})
            else:
                messages.append({"role": "user", "content": h["user"]})
        body = {"model": r.model, "system": r.system, "messages": messages}
        if r.tools:
            body["tools"] = [{"name": f["name"], "description": f["description"], "input_schema": f["parameters"]} for f in r.tools]
        return body

    def count(self, r):
        return self.sdk(r).messages.count_tokens(**self.body(r)).input_tokens

    def ask(self, r):
        body = {**self.body(r), "max_tokens": r.max}
        if r.schema:
            body["output_config"] = {"format": {"type": "json_schema", "schema": r.schema["schema"]}}
        if r.stop:
            body["stop_sequences"] = r.stop
        if r.think:
            body["thinking"] = {"type": "enabled", "budget_tokens": 1024}
        chunks = 0
        if r.stream:
            with self.sdk(r).messages.stream(**body) as stream:
                for e in stream:
                    if e.type == "content_block_delta":
                        chunks += 1
                        r.chunk()
                got = stream.get_final_message()
        else:
            got = self.sdk(r).messages.create(**body)
        details = got.usage.output_tokens_details
        return Answer(
            text="".join(b.text for b in got.content if b.type == "text"),
            thinking="".join(b.thinking for b in got.content if b.type == "thinking"),
            calls=[{"id": b.id, "name": b.name, "args": b.input} for b in got.content if b.type == "tool_use"],
            finish=FINISH.get(got.stop_reason, got.stop_reason),
            in_=got.usage.input_tokens,
            out=got.usage.output_tokens,
            reasoning=details and details.thinking_tokens,
            chunks=chunks,
            turn=got.content,
        )


class Gemini:
    package, family = "google-genai", "google"

    def __init__(self, name="google-genai"):
        self.name = name

    @staticmethod
    @once
    def client(base, key):
        return genai.Client(api_key=key, http_options=types.HttpOptions(base_url=base))

    def sdk(self, r):
        return self.client(r.base, r.key)

    def failure(self, e):
        return type(e).__name__, e.code if isinstance(e, errors.APIError) else None

    @staticmethod
    def contents(r):
        out = []
        for h in r.history:
            if "turn" in h:
                out.append(h["turn"])
                parts = [types.Part(function_response=types.FunctionResponse(id=t["id"], name=t["name"], response={"output": t["text"]})) for t in h["results"]]
            else:
                parts = [types.Part(text=h["user"])]
                if h["image"]:
                    parts.append(types.Part(inline_data=types.Blob(mime_type="image/png", data=h["image"])))
            out.append(types.Content(role="user", parts=parts))
        return out

    def count(self, r):
        return self.sdk(r).models.count_tokens(model=r.model, contents=self.contents(r)).total_tokens

    def embed(self, r, texts):
        return [e.values for e in self.sdk(r).models.embed_content(model=r.model, contents=texts).embeddings]

    def ask(self, r):
        config = types.GenerateContentConfig(system_instruction=r.system, max_output_tokens=r.max, stop_sequences=r.stop)
        if r.tools:
            config.tools = [types.Tool(function_declarations=[{"name": f["name"], "description": f["description"], "parameters_json_schema": f["parameters"]} for f in r.tools])]
        if r.schema:
            config.response_mime_type = "application/json"
            config.response_json_schema = r.schema["schema"]
        if r.think:
            config.thinking_config = types.ThinkingConfig(include_thoughts=True, thinking_level="LOW")
        chunks, parts = 0, []
        models = self.sdk(r).models
        args = {"model": r.model, "contents": self.contents(r), "config": config}
        for got in models.generate_content_stream(**args) if r.stream else [models.generate_content(**args)]:
            content = got.candidates[0].content
            parts += content and content.parts or []
            chunks += 1
            r.chunk()
        calls = [{"id": p.function_call.id, "name": p.function_call.name, "args": p.function_call.args} for p in parts if p.function_call]
        reason, used = got.candidates[0].finish_reason.value, got.usage_metadata
        return Answer(
            text="".join(p.text for p in parts if p.text and not p.thought),
            thinking="".join(p.text for p in parts if p.text and p.thought),
            calls=calls,
            finish=reason if reason != "STOP" else "tool_calls" if calls else "stop",
            in_=used.prompt_token_count,
            out=(used.candidates_token_count or 0) + (used.thoughts_token_count or 0),
            reasoning=used.thoughts_token_count,
            chunks=chunks,
            turn=types.Content(role="model", parts=parts),
        )
