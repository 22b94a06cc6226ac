import unittest

from core import suite
from vendors import Anthropic, Gemini

Clients = suite(Anthropic("anthropic, old API version"), Gemini("google-genai, old major"))

if __name__ == "__main__":
    unittest.main()
