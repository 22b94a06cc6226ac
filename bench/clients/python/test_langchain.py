import unittest

from chains import Anthropic, Gemini, OpenAIChat, OpenAIResponses
from core import suite

Clients = suite(OpenAIChat(), OpenAIResponses(), Anthropic(), Gemini())

if __name__ == "__main__":
    unittest.main()
