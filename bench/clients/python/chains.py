"""LangChain's chat models and embeddings."""

import json

from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage, SystemMessage, ToolMessage
from langchain_google_genai import ChatGoogleGenerativeAI, GoogleGenerativeAIEmbeddings
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

from core import Answer, NotApplicable

FINISH = {"end_turn": "stop", "stop_sequence": "stop", "completed": "stop", "STOP": "stop", "tool_use": "tool_calls"}


def read(message, kind, key):
    """What a message has of one kind of block, however its content is written."""
    if isinstance(message.content, str):
        return message.content if kind == "text" else ""
    blocks = [b if isinstance(b, dict) else {"type": "text", "text": b} for b in message.content]
    return "".join(b.get(key, "") for b in blocks if b.get("type") == kind)


def summary(message):
    """The thinking that Responses shows: items with a list of texts."""
    blocks = [] if isinstance(message.content, str) else [b for b in message.content if isinstance(b, dict) and b.get("type") == "reasoning"]
    return "".join(s.get("text", "") for b in blocks for s in b.get("summary", []))


class Chain:
    def failure(self, e):
        cause = e.__cause__ or e
        status = getattr(e, "status_code", None) or getattr(cause, "status_code", None) or getattr(cause, "code", None)
        return type(e).__name__, status

    def ask(self, r):
        if r.stop and not self.stops:
            raise NotApplicable("the Responses API has no stop sequences")
        messages = [SystemMessage(r.system)]
        for h in r.history:
            if "turn" in h:
                messages.append(h["turn"])
                messages += [ToolMessage(tool_call_id=t["id"], name=t["name"], content=t["text"]) for t in h["results"]]
            elif h["image"]:
                url = "data:image/png;base64," + h["image"]
                messages.append(HumanMessage([{"type": "text", "text": h["user"]}, {"type": "image_url", "image_url": {"url": url}}]))
            else:
                messages.append(HumanMessage(h["user"]))
        chain = self.model(r)
        if r.schema:
            schema = {"title": r.schema["name"], "description": "a place", **r.schema["schema"]}
            got = chain.with_structured_output(schema, method="json_schema", include_raw=True).invoke(messages)
            return self.answer(got["raw"], 0, text=json.dumps(got["parsed"]))
        if r.tools:
            chain = chain.bind_tools([{"type": "function", "function": f} for f in r.tools])
        options = {"stop": r.stop} if r.stop else {}
        if not r.stream:
            return self.answer(chain.invoke(messages, **options), 0)
        got, chunks = None, 0
        for chunk in chain.stream(messages, **options):
            got = chunk if got is None else got + chunk
            chunks += 1
            r.chunk()
        return self.answer(got, chunks)

    def answer(self, message, chunks, text=None):
        calls = [{"id": c["id"], "name": c["name"], "args": c["args"]} for c in message.tool_calls]
        meta, used = message.response_metadata, message.usage_metadata
        reason = meta.get("finish_reason") or meta.get("stop_reason") or meta.get("status")
        return Answer(
            text=read(message, "text", "text") if text is None else text,
            thinking=read(message, "thinking", "thinking") + read(message, "reasoning", "reasoning") + summary(message),
            calls=calls,
            finish="tool_calls" if calls else FINISH.get(reason, reason),
            in_=used["input_tokens"],
            out=used["output_tokens"],
            reasoning=used.get("output_token_details", {}).get("reasoning"),
            chunks=chunks,
            turn=message,
        )


class OpenAIChat(Chain):
    name, package, family, stops = "langchain openai chat", "langchain-openai", "openai", True

    def model(self, r):
        think = {"reasoning_effort": "low"} if r.think else {}
        return ChatOpenAI(model=r.model, api_key=r.key, base_url=r.base + "/v1", max_retries=0, max_tokens=r.max, stream_usage=True, use_responses_api=False, **think)

    def embed(self, r, texts):
        return OpenAIEmbeddings(model=r.model, api_key=r.key, base_url=r.base + "/v1", max_retries=0, check_embedding_ctx_length=False).embed_documents(texts)


class OpenAIResponses(Chain):
    name, package, family, stops = "langchain openai responses", "langchain-openai", "openai", False

    def model(self, r):
        think = {"reasoning": {"effort": "low", "summary": "auto"}} if r.think else {}
        return ChatOpenAI(model=r.model, api_key=r.key, base_url=r.base + "/v1", max_retries=0, max_tokens=r.max, use_responses_api=True, store=False, **think)


class Anthropic(Chain):
    name, package, family, stops = "langchain anthropic", "langchain-anthropic", "anthropic", True

    def model(self, r):
        think = {"thinking": {"type": "enabled", "budget_tokens": 1024}} if r.think else {}
        return ChatAnthropic(model=r.model, api_key=r.key, base_url=r.base, max_retries=0, max_tokens=r.max, **think)


class Gemini(Chain):
    name, package, family, stops = "langchain google-genai", "langchain-google-genai", "google", True

    def model(self, r):
        think = {"include_thoughts": True, "thinking_level": "low"} if r.think else {}
        return ChatGoogleGenerativeAI(model=r.model, google_api_key=r.key, base_url=r.base, max_retries=0, max_output_tokens=r.max, **think)

    def embed(self, r, texts):
        return GoogleGenerativeAIEmbeddings(model=r.model, google_api_key=r.key, base_url=r.base).embed_documents(texts)
