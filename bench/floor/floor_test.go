package floor

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// start runs a floor program inside the test and returns its address.
func start(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := Main(ctx, args, w)
		w.CloseWithError(fmt.Errorf("ended: %v", err))
		done <- err
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("%v: %v", args, err)
		}
	})
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		t.Fatal(args, err)
	}
	return strings.TrimSpace(strings.TrimPrefix(line, Ready))
}

// routes are the ways to the mock: direct, one hop, two hops.
func routes(t *testing.T) map[string]string {
	t.Helper()
	mock := "http://" + start(t, Mock)
	exit := start(t, QUICExit, "--next", mock)
	return map[string]string{
		"direct":  mock,
		"goproxy": "http://" + start(t, GoProxy, "--next", mock),
		"quic2":   "http://" + start(t, QUICEdge, "--next", exit),
	}
}

func post(t *testing.T, url, body string) *http.Response {
	t.Helper()
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/v1/chat/completions?x=1", strings.NewReader(body))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

func TestFloorsAnswerAsTheMockDoes(t *testing.T) {
	big := `{"messages":[{"content":"` + strings.Repeat("x", 100_000) + `"}]}`
	for name, url := range routes(t) {
		for _, body := range []string{`{"messages":[]}`, big} {
			resp := post(t, url, body)
			got, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != 200 || string(got) != answer || resp.Header.Get("Content-Type") != "application/json" {
				t.Errorf("%s: %d %q %v", name, resp.StatusCode, got, err)
			}
		}
		if resp := post(t, url, `{}`); resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: a request that is wrong got %d", name, resp.StatusCode)
		}
	}
}

func TestFloorsStreamWithoutHolding(t *testing.T) {
	for name, url := range routes(t) {
		// The gap never ends: the first chunk must come though there is no second.
		resp := post(t, url, `{"stream":true,"messages":[{"content":"chunks=2 gap=999999999"}]}`)
		line, err := bufio.NewReader(resp.Body).ReadString('\n')
		if err != nil || !strings.Contains(line, Stamp) {
			t.Errorf("%s: %q %v", name, line, err)
		}
		resp.Body.Close()

		resp = post(t, url, `{"stream":true,"stream_options":{"include_usage":true},"messages":[{"content":"chunks=5 gap=100"}]}`)
		b, err := io.ReadAll(resp.Body)
		if n := bytes.Count(b, []byte(Stamp)); err != nil || n != 5 || !bytes.HasSuffix(b, []byte(usage+done)) {
			t.Errorf("%s: %d chunks, %v:\n%s", name, n, err, b)
		}
	}
}

// A client that goes away must end the provider's stream through both hops.
func TestFloorsCancel(t *testing.T) {
	gone := make(chan struct{}, 3)
	mock := NewMock()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mock.ServeHTTP(w, r)
		gone <- struct{}{}
	}))
	defer s.Close()
	exit := start(t, QUICExit, "--next", s.URL)
	for _, url := range []string{"http://" + start(t, GoProxy, "--next", s.URL), "http://" + start(t, QUICEdge, "--next", exit)} {
		resp := post(t, url, `{"stream":true,"messages":[{"content":"chunks=1000 gap=10000"}]}`)
		if _, err := resp.Body.Read(make([]byte, 10)); err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		select {
		case <-gone:
		case <-time.After(20 * time.Second):
			t.Fatalf("%s: the provider still streams", url)
		}
	}
}

func TestMainRefuses(t *testing.T) {
	for _, args := range [][]string{nil, {"nothing"}, {GoProxy, "--next", "nowhere"}, {QUICExit, "--next", ""}, {Mock, "--bad"}} {
		if err := Main(t.Context(), args, io.Discard); err == nil {
			t.Errorf("%v: no error", args)
		}
	}
}
