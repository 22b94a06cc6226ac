import unittest

from core import suite
from vendors import Anthropic, Gemini, OpenAIChat, OpenAIResponses

Clients = suite(OpenAIChat(), OpenAIResponses(), Anthropic(), Gemini())

if __name__ == "__main__":
    unittest.main()
