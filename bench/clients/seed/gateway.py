"""One gateway to three vendors: each SDK as it is, one place and one key for all of them.

eval "$(causeway env openai)"; eval "$(causeway env anthropic)"; eval "$(causeway env gemini)" first.
"""

from anthropic import Anthropic
from google import genai
from openai import OpenAI


class Gateway:
    """Asks any model by name, through the SDK of the vendor whose model it is."""

    def __init__(self):
        self.openai, self.anthropic, self.gemini = OpenAI(), Anthropic(), genai.Client()

    def ask(self, model, prompt):
        if model.startswith("claude"):
            message = self.anthropic.messages.create(model=model, max_tokens=1000, messages=[{"role": "user", "content": prompt}])
            return message.content[0].text
        if model.startswith("gemini"):
            return self.gemini.models.generate_content(model=model, contents=prompt).text
        return self.openai.chat.completions.create(model=model, messages=[{"role": "user", "content": prompt}]).choices[0].message.content


if __name__ == "__main__":
    gateway = Gateway()
    for model in ("gpt-4", "claude-3-5-sonnet-20241022", "gemini-pro"):
        answer = gateway.ask(model, f"Reply with exactly: {model} is here.")
        assert answer == f"{model} is here.", answer
        print(f"{model}: {answer}")
    # With any of the SDKs every model can be asked: the mesh converts.
    answer = gateway.openai.chat.completions.create(model="auto", messages=[{"role": "user", "content": "Reply with exactly: any route."}])
    print("auto:", answer.choices[0].message.content)
