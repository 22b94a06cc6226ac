package fake

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/rs/zerolog"
)

func TestStoreIsBounded(t *testing.T) {
	var s store
	big := make([]byte, maxKept/4)
	for i := range 6 {
		s.put("a", &thing{kind: "file", id: string(rune('a' + i)), data: big})
	}
	if list := s.list("a", "file", ""); len(list) != 4 || list[0].id != "c" {
		t.Errorf("%d things are kept", len(list))
	}
	for range 3 { // in place of itself
		s.put("a", &thing{kind: "file", id: "f", data: big})
	}
	if list := s.list("a", "file", ""); len(list) != 4 {
		t.Errorf("%d things are kept", len(list))
	}
	for range maxThings + 5 {
		s.put("b", &thing{kind: "file", id: s.id("x", 0)})
	}
	if n := len(s.list("b", "file", "")); n != maxThings {
		t.Errorf("%d things are kept", n)
	}
	for range maxShelves {
		s.put(s.id("key", 0), &thing{kind: "file", id: "x"})
	}
	if len(s.shelves) != maxShelves || s.get("a", "file", "f") != nil {
		t.Errorf("%d credentials are kept", len(s.shelves))
	}
}

// Each credential sees its own things only, and wrong requests are refused as the vendors do.
func TestStoredThingsOfCredentials(t *testing.T) {
	server := httptest.NewServer(New(Options{Log: zerolog.Nop()}))
	defer server.Close()
	call := func(key, method, path, body string, header ...string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+key)
		for i := 0; i+1 < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(b)
	}
	status, body := call("one", "POST", "/v1/conversations", `{}`)
	_, rest, _ := strings.Cut(body, `"id": "`)
	id, _, _ := strings.Cut(rest, `"`)
	if status != 200 || !strings.HasPrefix(id, "conv_") {
		t.Fatalf("%d %s", status, body)
	}
	if status, _ := call("one", "GET", "/v1/conversations/"+id, ""); status != 200 {
		t.Errorf("its own: %d", status)
	}
	if status, _ := call("two", "GET", "/v1/conversations/"+id, ""); status != 404 {
		t.Errorf("another's: %d", status)
	}
	form := func(part string) (string, []string) {
		return "--b\r\n" + part + "\r\n\r\nx\r\n--b--\r\n", []string{"Content-Type", "multipart/form-data; boundary=b"}
	}
	unknown, formType := form(`Content-Disposition: form-data; name="nonsense"`)
	for _, c := range []struct {
		method, path, body string
		header             []string
		status             int
	}{
		{"POST", "/v1/files", unknown, formType, 400},
		{"POST", "/v1/files", `{}`, nil, 400},
		{"POST", "/v1/images/edits", unknown, formType, 400},
		{"POST", "/v1/audio/transcriptions", unknown, formType, 400},
		{"POST", "/v1/images/generations", `{"model":"gpt-image-1"}`, nil, 400},
		{"POST", "/v1/images/generations", `{"model":"gpt-image-1","prompt":"x","nonsense":1}`, nil, 400},
		{"POST", "/v1/audio/speech", `{"model":"tts-1","input":"x"}`, nil, 400},
		{"POST", "/v1/moderations", `{}`, nil, 400},
		{"POST", "/v1/completions", `{"model":"fake"}`, nil, 400},
		{"POST", "/v1/completions", `{"model":"nobody","prompt":"x"}`, nil, 404},
		{"POST", "/v1/batches", `{"input_file_id":"file-none","endpoint":"/v1/responses","completion_window":"24h"}`, nil, 404},
		{"POST", "/v1/uploads", `{"filename":"x"}`, nil, 400},
		{"POST", "/v1/uploads/none/parts", "", nil, 404},
		{"POST", "/v1/responses", `{"model":"gpt-4o","input":"x","previous_response_id":"resp_none"}`, nil, 400},
		{"GET", "/v1/responses/resp_none", "", nil, 404},
		{"POST", "/v1/messages/batches", `{"requests":[]}`, nil, 400},
		{"POST", "/v1/messages/batches", `{"requests":[{"params":{}}]}`, nil, 400},
		{"POST", "/upload/v1beta/files", "", nil, 400},
		{"POST", "/upload/v1beta/files?upload_id=none", "", nil, 404},
		{"GET", "/v1beta/files/none", "", nil, 403},
		{"POST", "/v1beta/cachedContents", `{"model":"models/nobody"}`, nil, 400},
		{"PUT", "/v1/files", "", nil, 404},
	} {
		if status, body := call("one", c.method, c.path, c.body, c.header...); status != c.status || !strings.Contains(body, "error") {
			t.Errorf("%s %s %q: %d %s", c.method, c.path, c.body, status, body)
		}
	}
}
