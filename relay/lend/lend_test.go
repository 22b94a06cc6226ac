package lend

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

func TestGetLendsEnough(t *testing.T) {
	for _, n := range []int{0, 1, 1023, 1024, 1025, 4096, 4097, 65_536, 65_537, 1 << 20, 1<<20 + 1} {
		b := Get(n)
		if len(b.Bytes()) < n || n > 1024 && n <= Max && len(b.Bytes()) >= 8*n {
			t.Errorf("asked for %d, got %d", n, len(b.Bytes()))
		}
		b.Drop()
	}
}

func TestHeldMemoryIsNobodyElses(t *testing.T) {
	b := Get(1000)
	r := Body{First: b.Bytes()[:400], Rest: [][]byte{nil, b.Bytes()[400:1000]}, Memory: b}.Reader()
	b.Drop() // the owner is done, the reader is not
	for range 100 {
		if o := Get(1000); o == b {
			t.Fatal("lent twice")
		}
	}
	for _, want := range []int{400, 600} { // an empty piece is no end
		if n, err := r.Read(make([]byte, 2000)); n != want || err != nil {
			t.Fatal(n, err)
		}
	}
	if _, err := r.Read(make([]byte, 1)); err != io.EOF {
		t.Fatal(err)
	}
	r.Close()
	r.Close() // only the first one counts
	if _, err := r.Read(make([]byte, 1)); err == nil || err == io.EOF {
		t.Fatalf("a closed reader still reads: %v", err)
	}
}

func TestOneDropTooManyPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a bug that would lend memory twice goes on unseen")
		}
	}()
	b := Get(10)
	b.Hold()
	b.Drop()
	b.Drop()
	b.Drop()
}

// Under net/http no byte of a request is ever another request's, even where the server answers before
// it has read the body and where requests are cut off.
func TestBodiesNeverMix(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/early" {
			w.WriteHeader(http.StatusTeapot) // and the body is left unread
			return
		}
		got, err := io.ReadAll(r.Body)
		if err == nil && len(bytes.Trim(got, string(got[:1]))) > 0 {
			t.Error("a body holds bytes of another")
		}
	}))
	defer s.Close()
	var wg sync.WaitGroup
	for c := range byte(8) {
		wg.Go(func() {
			for i := range 40 {
				n := 100_000
				b := Get(n)
				for j := range b.Bytes()[:n] {
					b.Bytes()[j] = 'a' + c
				}
				path := "/"
				if i%2 == 1 {
					path = "/early"
				}
				req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+path, Body{First: b.Bytes()[:n], Memory: b}.Reader())
				req.ContentLength = int64(n)
				resp, err := http.DefaultTransport.RoundTrip(req)
				b.Drop()
				if err == nil {
					resp.Body.Close()
				}
			}
		})
	}
	wg.Wait()
}
