package golang

import (
	"os"
	"testing"
)

func TestClients(t *testing.T) {
	path := os.Getenv("CAUSEWAY_CLIENTS")
	if path == "" {
		t.Skip("needs a mesh: run it with `make clients`")
	}
	s, err := open(path)
	if err != nil {
		t.Fatal(err)
	}
	runAll(t, s, openAIChat{})
	runAll(t, s, openAIResponses{})
	runAll(t, s, anthropicNew{})
	runAll(t, s, anthropicOld{})
	runAll(t, s, googleGenAI{})
	if err := s.close(); err != nil {
		t.Error(err)
	}
}
