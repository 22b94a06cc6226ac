package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/causeway-mesh/causeway/mesh/identity"
)

// Headers between coordinators. They are removed from what clients send.
const (
	headerPeer      = "X-Causeway-Peer"      // identity of the node on whose behalf a call is forwarded
	headerForwarded = "X-Causeway-Forwarded" // set once: a forwarded call is never forwarded again
)

// Forwarded serves other coordinators, over mutual TLS. It believes what they say about whose
// request it is.
func (s *Server) Forwarded() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var from identity.Peer
		ok := false
		if r.TLS != nil {
			from, ok = identity.PeerFromState(*r.TLS)
		} else if p, has := r.Context().Value(peerKey{}).(identity.Peer); has {
			from, ok = p, true
		}
		if !ok || !from.Roles.Has(identity.RoleCoordinator) {
			writeProblem(w, problem("unauthorized", "this listener is for coordinators"))
			return
		}
		if text := r.Header.Get(headerPeer); text != "" {
			p, err := parsePeer(text)
			if err != nil {
				writeProblem(w, problem("malformed", "forwarded identity: %s", err))
				return
			}
			r.TLS = nil
			r = r.WithContext(WithPeer(r.Context(), p))
		}
		s.serve(w, r, r.Header.Get(headerForwarded) != "")
	})
}

func formatPeer(p identity.Peer) string {
	return strings.Join([]string{p.Mesh, p.Region, string(p.Node), strconv.Itoa(int(p.Roles)), p.Serial, strconv.FormatInt(p.NotAfter.Unix(), 10)}, " ")
}

func parsePeer(text string) (identity.Peer, error) {
	f := strings.Split(text, " ")
	if len(f) != 6 {
		return identity.Peer{}, errors.New("want six fields")
	}
	roles, err := strconv.ParseUint(f[3], 10, 8)
	if err != nil {
		return identity.Peer{}, errors.New("bad roles")
	}
	end, err := strconv.ParseInt(f[5], 10, 64)
	if err != nil {
		return identity.Peer{}, errors.New("bad end")
	}
	p := identity.Peer{Mesh: f[0], Region: f[1], Node: identity.NodeID(f[2]), Roles: identity.Role(roles), Serial: f[4], NotAfter: time.Unix(end, 0)}
	return p, p.Validate()
}

// forward has the leader answer. The whole body is at hand, so a leader that turns out not to be one
// costs another try and not an error; after leaderWait the caller is told.
func (s *Server) forward(c *call) *Problem {
	s.stats.forwarded.Add(1)
	deadline := time.Now().Add(leaderWait)
	for {
		p := s.forwardOnce(c)
		if p == nil || p.Code != "not_leader" && p.Code != "no_leader" {
			return p
		}
		if time.Now().After(deadline) || !pause(c.ctx, 50*time.Millisecond) {
			return problem("no_leader", "the coordinators have no leader: a majority of them must be up and reach each other")
		}
		if s.cfg.Consensus.IsLeader() {
			return s.again(c)
		}
	}
}

// again answers here, this coordinator having become the leader while the call waited.
func (s *Server) again(c *call) *Problem {
	e, _, p := s.table.find(c.w, c.r)
	if p != nil {
		return p
	}
	if e.where == reads {
		if _, err := s.cfg.Consensus.Linearizable(c.ctx); err != nil {
			return asProblem(err)
		}
	}
	c.snap = s.cfg.Consensus.Snapshot()
	c.done = true
	return e.do(s, c)
}

func (s *Server) forwardOnce(c *call) *Problem {
	id, addr := s.cfg.Consensus.Leader()
	if addr == "" || id == s.cfg.Self || s.cfg.Peers == nil {
		return problem("no_leader", "no leader is known")
	}
	out, err := http.NewRequestWithContext(c.ctx, c.r.Method, "https://"+addr+c.r.URL.RequestURI(), bytes.NewReader(c.body))
	if err != nil {
		return problem("internal", "forward to the leader")
	}
	for _, h := range []string{"Authorization", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match", "Accept"} {
		if v := c.r.Header.Get(h); v != "" {
			out.Header.Set(h, v)
		}
	}
	out.Header.Set(headerForwarded, s.cfg.Self)
	if c.who.role == RoleNode {
		out.Header.Set(headerPeer, formatPeer(c.who.node))
	}
	resp, err := s.cfg.Peers.RoundTrip(out)
	if err != nil {
		if ErrNotSent(err) {
			return problem("no_leader", "the leader %s cannot be reached", id)
		}
		return problem("unknown_outcome", "the leader %s went away before it answered", id)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return problem("unknown_outcome", "the leader %s went away before its answer was complete", id)
	}
	if resp.StatusCode == http.StatusServiceUnavailable {
		var p Problem
		if json.Unmarshal(body, &p) == nil && p.Code == "not_leader" {
			return &p
		}
	}
	for k, v := range resp.Header {
		switch k {
		case "Connection", "Keep-Alive", "Transfer-Encoding", "Date", "Content-Length":
		default:
			c.w.Header()[k] = v
		}
	}
	c.w.WriteHeader(resp.StatusCode)
	_, _ = c.w.Write(body)
	c.done = true
	return nil
}

// notSent marks a transport error from before the first byte left.
type notSent struct{ error }

// NotSent wraps an error of a Peers transport that happened while dialling: the call did not happen.
func NotSent(err error) error { return notSent{err} }

// ErrNotSent tells whether err says so.
func ErrNotSent(err error) bool {
	var n notSent
	return errors.As(err, &n)
}

// ask has another coordinator answer a GET, as this coordinator. One that hangs is given 2 s.
func (s *Server) ask(ctx context.Context, addr, path string, into any) error {
	if s.cfg.Peers == nil {
		return errors.New("no way to other coordinators")
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	u := url.URL{Scheme: "https", Host: addr, Path: path}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return fmt.Errorf("ask coordinator %s: %w", addr, err)
	}
	resp, err := s.cfg.Peers.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("ask coordinator %s: %w", addr, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("ask coordinator %s: %s", addr, resp.Status)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(into); err != nil {
		return fmt.Errorf("ask coordinator %s: %w", addr, err)
	}
	return nil
}
