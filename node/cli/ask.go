package cli

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/causeway-mesh/causeway/relay/sse"
)

func (a *app) ask() *cobra.Command {
	var o edgeFlags
	q := prompt{}
	c := &cobra.Command{
		Use: "ask PROMPT", Short: "Ask a model through the mesh and print the answer as it comes", Args: cobra.MinimumNArgs(1),
		Long:    "Ask sends one OpenAI chat request to an edge. A prompt of - is read from standard input.",
		Example: "  causeway ask \"hello\"\n  causeway ask --model gpt-4o --edge eu-central --class restricted \"what is a causeway?\"",
		RunE: func(c *cobra.Command, args []string) error {
			base, key, _, err := o.resolve()
			if err != nil {
				return err
			}
			text := strings.Join(args, " ")
			if text == "-" {
				b, err := a.readFile(c.Context(), "-")
				if err != nil {
					return err
				}
				text = string(b)
			}
			if strings.TrimSpace(text) == "" {
				return misuse(c, "the prompt is empty")
			}
			client, err := a.edgeClient()
			if err != nil {
				return err
			}
			return a.send(c.Context(), client, base, key, text, q)
		},
	}
	o.add(c)
	f := c.Flags()
	f.StringVar(&q.model, "model", "auto", "the model to ask")
	f.BoolVar(&q.stream, "stream", true, "print tokens as they come")
	f.BoolVar(&q.json, "json", false, "print the answer as the API gave it: one JSON object, or the stream's events")
	f.StringVar(&q.class, "class", "", "data class; it may only be higher than the tenant's")
	f.StringVar(&a.global.ca, "ca", "", "PEM file of the CA that signed the edge's certificate (CAUSEWAY_CA)")
	return c
}

type prompt struct {
	model, class string
	stream, json bool
}

// edgeClient trusts the system's CAs and --ca.
func (a *app) edgeClient() (*http.Client, error) {
	t := &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true}
	if ca := or(a.global.ca, os.Getenv("CAUSEWAY_CA")); ca != "" {
		b, err := os.ReadFile(ca)
		if err != nil {
			return nil, fail("read the CA", err, "--ca takes a PEM file")
		}
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		if !pool.AppendCertsFromPEM(b) {
			return nil, &failure{code: exitUsage, what: ca + " holds no PEM certificate", next: "--ca takes a PEM file"}
		}
		t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return &http.Client{Transport: t}, nil
}

// chatRequest is the part of an OpenAI chat request that ask uses.
type chatRequest struct {
	Model    string        `json:"model"`
	Messages []chatMessage `json:"messages"`
	Stream   bool          `json:"stream,omitempty"`
}

type chatMessage struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// chatAnswer is an answer or one chunk of it.
type chatAnswer struct {
	Choices []struct {
		Message chatMessage `json:"message"`
		Delta   chatMessage `json:"delta"`
	} `json:"choices"`
	Error *chatError `json:"error"`
}

type chatError struct {
	Message string          `json:"message"`
	Code    json.RawMessage `json:"code"` // a string, or null
	Type    string          `json:"type"`
}

func (e *chatError) Error() string {
	if code := strings.Trim(string(e.Code), `"`); code != "" && code != "null" {
		return code + ": " + e.Message
	}
	return cmp.Or(e.Message, e.Type)
}

func (a *app) send(ctx context.Context, client *http.Client, base, key, text string, q prompt) error {
	body, err := json.Marshal(chatRequest{Model: q.model, Messages: []chatMessage{{Role: "user", Content: text}}, Stream: q.stream})
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/v1/chat/completions", bytes.NewReader(body))
	if err != nil {
		return &failure{code: exitUsage, what: "--edge " + base, why: err, next: "name it as --edge https://HOST"}
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+key)
	if q.class != "" {
		req.Header.Set("X-Causeway-Class", q.class)
	}
	resp, err := client.Do(req)
	if err != nil {
		return fail("ask "+base, err, edgeHint(err))
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return refused(base, q.model, resp)
	}
	if route := resp.Header.Get("X-Causeway-Route"); route != "" && terminal(a.Err) {
		a.note("%s", paint(a.Err).dim(route))
	}
	if q.stream {
		return a.readStream(resp.Body, q.json)
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return fail("read the answer", err, "")
	}
	if q.json {
		s, err := pretty(b)
		if err != nil {
			return err
		}
		return put(a.Out, s)
	}
	var got chatAnswer
	if err := json.Unmarshal(b, &got); err != nil || len(got.Choices) == 0 {
		return &failure{code: exitError, what: "the answer is no chat completion", why: err, next: "see it with --json"}
	}
	return put(a.Out, got.Choices[0].Message.Content+"\n")
}

func edgeHint(err error) string {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "give the CA that signed the edge's certificate: --ca FILE"
	}
	return "check that the edge runs: causeway doctor   (start a mesh: causeway dev)"
}

// refused explains an error answer of the edge.
func refused(base, model string, resp *http.Response) error {
	b, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	f := &failure{code: exitError, what: base + " answered " + resp.Status}
	var got chatAnswer
	if json.Unmarshal(b, &got) == nil && got.Error != nil {
		f.why = got.Error
	}
	switch code := resp.StatusCode; {
	case code == http.StatusUnauthorized:
		f.code, f.next = exitDenied, "use a key of this mesh: --key cw_…   (list them: causeway key list)"
	case code == http.StatusForbidden:
		f.code, f.next = exitDenied, "see which rule it was: causeway route explain "+model
	case code == http.StatusNotFound:
		f.code, f.next = exitNotFound, "causeway model list"
	case code == http.StatusTooManyRequests || code >= 500:
		f.code, f.next = exitUnavailable, "see why: causeway route explain "+model
		if after := resp.Header.Get("Retry-After"); after != "" {
			f.next = "try again in " + after + " s"
		}
	default:
		f.next = "causeway ask --help"
	}
	if id := resp.Header.Get("X-Causeway-Request-Id"); id != "" && f.code != exitNotFound && resp.StatusCode != http.StatusUnauthorized {
		f.next += "\nrequest id " + id + ": causeway audit tail"
	}
	return f
}

// readStream prints text as it comes; raw prints the events' data.
func (a *app) readStream(body io.Reader, raw bool) error {
	s := sse.NewScanner(0)
	buf := make([]byte, 32<<10)
	var read error
	done, wrote := false, false
	for read == nil && !done {
		var n int
		n, read = body.Read(buf)
		s.Feed(buf[:n])
		for !done {
			e, ok := s.Next()
			if !ok {
				break
			}
			if e.Data == nil {
				continue
			}
			if string(e.Data) == "[DONE]" {
				done = true
				continue
			}
			if raw {
				if err := put(a.Out, string(e.Data)+"\n"); err != nil {
					return err
				}
			}
			var c chatAnswer
			if err := json.Unmarshal(e.Data, &c); err != nil {
				return fail("read the stream", err, "see it with --json")
			}
			if c.Error != nil {
				if wrote {
					_ = put(a.Out, "\n")
				}
				return &failure{code: exitUnavailable, what: "the answer broke off", why: c.Error, next: "ask again; what was printed is not all of it"}
			}
			for _, ch := range c.Choices {
				if raw || ch.Delta.Content == "" {
					continue
				}
				wrote = true
				if err := put(a.Out, ch.Delta.Content); err != nil {
					return err
				}
			}
		}
		if err := s.Err(); err != nil {
			return fail("read the stream", err, "")
		}
	}
	if wrote {
		if err := put(a.Out, "\n"); err != nil {
			return err
		}
	}
	if !done {
		if read == nil || errors.Is(read, io.EOF) {
			read = io.ErrUnexpectedEOF
		}
		return fail("the answer broke off", read, "ask again; what was printed is not all of it")
	}
	return nil
}
