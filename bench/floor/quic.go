package floor

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
)

const floorALPN = "causeway-floor/1"

func quicConfig() *quic.Config {
	return &quic.Config{
		MaxIncomingStreams:             20000,
		MaxIdleTimeout:                 time.Minute,
		KeepAlivePeriod:                10 * time.Second,
		InitialStreamReceiveWindow:     256 << 10,
		InitialConnectionReceiveWindow: 4 << 20,
		MaxConnectionReceiveWindow:     64 << 20,
	}
}

// The floor's head on a stream, both ways: a first line, header lines, an empty line; then the body
// up to the end of the stream.
var (
	readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 4096) }}
	writers = sync.Pool{New: func() any { return bufio.NewWriterSize(nil, 4096) }}
	// whole requests of the edge
	requests = sync.Pool{New: func() any { return new(bytes.Buffer) }}
)

func writeHead(w *bufio.Writer, first string, h http.Header) {
	w.WriteString(first)
	w.WriteString("\r\n")
	for name, values := range h {
		if name == "Connection" || name == "Transfer-Encoding" {
			continue
		}
		for _, v := range values {
			w.WriteString(name)
			w.WriteString(": ")
			w.WriteString(v)
			w.WriteString("\r\n")
		}
	}
	w.WriteString("\r\n")
}

func readHead(r *bufio.Reader) (string, http.Header, error) {
	tp := textproto.NewReader(r)
	first, err := tp.ReadLine()
	if err != nil {
		return "", nil, err
	}
	h, err := tp.ReadMIMEHeader()
	return first, http.Header(h), err
}

// copyFlush forwards each read at once: a stream's chunks must not wait for one another.
func copyFlush(r io.Reader, write func([]byte) error) error {
	buf := make([]byte, 4096)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			if werr := write(buf[:n]); werr != nil {
				return werr
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

type edge struct{ conn *quic.Conn }

// dialExit opens the one warm connection; its loss ends the floor.
func dialExit(ctx context.Context, addr string) (*edge, error) {
	// The floor measures the cost of encryption, not of trust: both ends are children of one bench.
	conf := &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true, NextProtos: []string{floorALPN}} //nolint:gosec // as said above
	conn, err := quic.DialAddr(ctx, addr, conf, quicConfig())
	if err != nil {
		return nil, fmt.Errorf("floor: dial exit: %w", err)
	}
	return &edge{conn}, nil
}

func (e *edge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s, err := e.conn.OpenStreamSync(r.Context())
	if err != nil {
		http.Error(w, "no stream", http.StatusBadGateway)
		return
	}
	stop := context.AfterFunc(r.Context(), func() { s.CancelRead(1); s.CancelWrite(1) })
	defer stop()
	err = sendRequest(s, r)
	br := readers.Get().(*bufio.Reader)
	br.Reset(s)
	defer func() { br.Reset(nil); readers.Put(br) }()
	first, head, herr := readHead(br)
	status, serr := strconv.Atoi(first)
	if err = errors.Join(err, herr, serr); err != nil {
		http.Error(w, "exit lost", http.StatusBadGateway)
		return
	}
	for name, v := range head {
		w.Header()[name] = v
	}
	w.WriteHeader(status)
	rc := http.NewResponseController(w)
	err = copyFlush(br, func(b []byte) error {
		if _, err := w.Write(b); err != nil {
			return err
		}
		return rc.Flush()
	})
	if err != nil {
		panic(http.ErrAbortHandler) // the client must see a truncated answer, not a whole one
	}
}

// sendRequest writes head and body at once: a large body in small writes would cost a wake-up each.
func sendRequest(s *quic.Stream, r *http.Request) error {
	buf := requests.Get().(*bytes.Buffer)
	defer requests.Put(buf)
	buf.Reset()
	bw := writers.Get().(*bufio.Writer)
	bw.Reset(buf)
	r.Header.Set("Content-Length", strconv.FormatInt(r.ContentLength, 10))
	writeHead(bw, r.Method+" "+r.URL.RequestURI(), r.Header)
	err := bw.Flush()
	bw.Reset(nil)
	writers.Put(bw)
	if err == nil {
		_, err = buf.ReadFrom(r.Body)
	}
	if err == nil {
		_, err = s.Write(buf.Bytes())
	}
	return errors.Join(err, s.Close())
}

func serveExit(ctx context.Context, addr, next string, ready func(net.Addr) error) error {
	u, err := url.Parse(next)
	if err != nil || u.Host == "" {
		return fmt.Errorf("floor: --next %q is not a URL", next)
	}
	cert, err := selfSigned()
	if err != nil {
		return err
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}, NextProtos: []string{floorALPN}}
	ln, err := quic.ListenAddr(addr, conf, quicConfig())
	if err != nil {
		return fmt.Errorf("floor: listen: %w", err)
	}
	defer ln.Close()
	if err := ready(ln.Addr()); err != nil {
		return err
	}
	rt := transport()
	for {
		conn, err := ln.Accept(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("floor: accept: %w", err)
		}
		go func() {
			for {
				s, err := conn.AcceptStream(ctx)
				if err != nil {
					return
				}
				go func() {
					if err := exchange(s, u, rt); err != nil {
						s.CancelRead(2)
						s.CancelWrite(2)
					}
				}()
			}
		}()
	}
}

func exchange(s *quic.Stream, base *url.URL, rt http.RoundTripper) error {
	br := readers.Get().(*bufio.Reader)
	br.Reset(s)
	body := &lentBody{br: br}
	first, head, err := readHead(br)
	if err != nil {
		body.Close()
		return err
	}
	method, path, _ := strings.Cut(first, " ")
	req, err := http.NewRequestWithContext(s.Context(), method, base.Scheme+"://"+base.Host+path, body)
	if err != nil {
		body.Close()
		return err
	}
	req.ContentLength, err = strconv.ParseInt(head.Get("Content-Length"), 10, 64)
	if err != nil {
		return err
	}
	head.Del("Content-Length")
	req.Header = head
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	bw := writers.Get().(*bufio.Writer)
	bw.Reset(s)
	writeHead(bw, strconv.Itoa(resp.StatusCode), resp.Header)
	err = bw.Flush()
	bw.Reset(nil)
	writers.Put(bw)
	if err == nil {
		err = copyFlush(resp.Body, func(b []byte) error { _, err := s.Write(b); return err })
	}
	return errors.Join(err, s.Close())
}

// lentBody is a request body whose buffer goes back to the pool when the transport closes it: it may
// still be read after the answer has come.
type lentBody struct {
	br   *bufio.Reader
	once sync.Once
}

func (b *lentBody) Read(p []byte) (int, error) { return b.br.Read(p) }

// Close may be called more than once.
func (b *lentBody) Close() error {
	b.once.Do(func() {
		b.br.Reset(nil)
		readers.Put(b.br)
	})
	return nil
}

func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("floor: key: %w", err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("floor: certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
