package api

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"time"

	"github.com/causeway-mesh/causeway/mesh/identity"
)

// joinRequest is the body of POST /v1/cluster/join: the token is shown only after the CA hash in it
// has been found in the server's chain.
type joinRequest struct {
	TokenID string `json:"token_id"`
	Secret  string `json:"secret"`
	CSR     []byte `json:"csr"`
	Node    string `json:"node,omitempty"`
	Addr    string `json:"addr,omitempty"`
	Build   string `json:"build,omitempty"`
	Raft    string `json:"raft,omitempty"` // a coordinator's Raft address
}

// certified is the answer to join and renew.
type certified struct {
	Mesh     string   `json:"mesh"`
	Cluster  string   `json:"cluster"`
	Node     string   `json:"node"`
	Region   string   `json:"region"`
	Roles    []string `json:"roles"`
	Chain    []byte   `json:"chain"` // PEM, leaf first
	Roots    []byte   `json:"roots"` // PEM
	NotAfter int64    `json:"not_after"`
	Index    uint64   `json:"index"`

	Coordinator *Escrow `json:"coordinator,omitempty"`
}

// Escrow is what a joining coordinator, and nobody else, is given: the key that opens the sealed
// values in Raft, the sealed CA key, and who may use the admin API.
type Escrow struct {
	KEK         []byte  `json:"kek"`
	SealedCAKey []byte  `json:"sealed_ca_key"`
	Grants      []Grant `json:"grants"`
}

// JoinConfig is how a node joins.
type JoinConfig struct {
	Servers []string // base URLs, https
	Token   string   // cwj1.…
	Node    string   // wanted node id; "" lets the coordinator choose
	Addr    string   // the node's mesh address, host:port
	Build   string
	Raft    string // coordinators only: Raft address
	Dial    func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Joined is a new member's identity. Save Identity before anything else: the token is spent.
type Joined struct {
	Identity    *identity.Store
	Mesh        string
	Cluster     string
	Node        string
	Region      string
	Roles       identity.Role
	Coordinator *Escrow
}

// Join makes a key, proves the token and returns the identity issued for it. The server is checked
// against the CA hash in the token before the token is sent. Errors never hold the token's secret.
func Join(ctx context.Context, cfg JoinConfig) (*Joined, error) {
	token, err := identity.ParseJoinToken(cfg.Token)
	if err != nil {
		return nil, fmt.Errorf("join: %w", err)
	}
	c, err := NewClient(Config{Servers: cfg.Servers, CAHash: token.CAHash, Dial: cfg.Dial})
	if err != nil {
		return nil, fmt.Errorf("join: %w", err)
	}
	defer c.Close()
	for _, s := range c.cfg.Servers {
		if len(s) < 8 || s[:8] != "https://" {
			return nil, fmt.Errorf("join: server %q: a join token is only sent over https", s)
		}
	}
	key, err := identity.NewKey()
	if err != nil {
		return nil, fmt.Errorf("join: make key: %w", err)
	}
	csr, err := identity.CSR(key)
	if err != nil {
		return nil, fmt.Errorf("join: %w", err)
	}
	body, err := json.Marshal(joinRequest{
		TokenID: token.ID, Secret: token.Secret, CSR: csr, Node: cfg.Node, Addr: cfg.Addr, Build: cfg.Build, Raft: cfg.Raft,
	})
	if err != nil {
		return nil, fmt.Errorf("join: %w", err)
	}
	a, err := c.Do(ctx, Call{Method: http.MethodPost, Path: "/v1/cluster/join", Body: body})
	if err != nil {
		return nil, fmt.Errorf("join: %w", err)
	}
	var got certified
	if err := Decode(a, &got); err != nil {
		return nil, fmt.Errorf("join: %w", err)
	}
	chain, roots, err := got.certificates()
	if err != nil {
		return nil, fmt.Errorf("join: %w", err)
	}
	store, err := identity.NewStore(key, chain, roots)
	if err != nil {
		return nil, fmt.Errorf("join: %w", err)
	}
	self := store.Self()
	return &Joined{
		Identity: store, Mesh: got.Mesh, Cluster: got.Cluster, Node: string(self.Node), Region: self.Region,
		Roles: self.Roles, Coordinator: got.Coordinator,
	}, nil
}

func (c *certified) certificates() (chain, roots []*x509.Certificate, err error) {
	if chain, err = identity.ParseCertificates(c.Chain); err != nil {
		return nil, nil, fmt.Errorf("read issued certificate: %w", err)
	}
	if roots, err = identity.ParseCertificates(c.Roots); err != nil {
		return nil, nil, fmt.Errorf("read CA certificates: %w", err)
	}
	return chain, roots, nil
}

// Renew gets a certificate for a fresh key and puts both into the client's identity store. addr and
// build, when not empty, replace what the coordinator knows of the node.
func (c *Client) Renew(ctx context.Context, addr, build string) error {
	store := c.cfg.Identity
	if store == nil {
		return errors.New("renew certificate: the client has no node identity")
	}
	key, err := identity.NewKey()
	if err != nil {
		return fmt.Errorf("renew certificate: make key: %w", err)
	}
	csr, err := identity.CSR(key)
	if err != nil {
		return fmt.Errorf("renew certificate: %w", err)
	}
	body, err := json.Marshal(renewRequest{CSR: csr, Addr: addr, Build: build})
	if err != nil {
		return fmt.Errorf("renew certificate: %w", err)
	}
	a, err := c.Do(ctx, Call{Method: http.MethodPost, Path: "/v1/nodes/" + string(store.Self().Node) + ":renew", Body: body})
	if err != nil {
		return fmt.Errorf("renew certificate: %w", err)
	}
	var got certified
	if err := Decode(a, &got); err != nil {
		return fmt.Errorf("renew certificate: %w", err)
	}
	chain, roots, err := got.certificates()
	if err != nil {
		return fmt.Errorf("renew certificate: %w", err)
	}
	if err := store.Update(key, chain, roots); err != nil {
		return fmt.Errorf("renew certificate: %w", err)
	}
	c.http.CloseIdleConnections() // they carry the old certificate
	return nil
}

type renewRequest struct {
	CSR   []byte `json:"csr"`
	Addr  string `json:"addr,omitempty"`
	Build string `json:"build,omitempty"`
}

// KeepRenewed renews the certificate each time a third of its life is gone (72 h certificates: every
// 24 h), and once at the start so that the coordinator learns addr and build. Failures are tried
// again, sooner as the end comes nearer; report is told of each result and may be nil. It returns
// when ctx ends.
func (c *Client) KeepRenewed(ctx context.Context, addr, build string, report func(error)) error {
	if report == nil {
		report = func(error) {}
	}
	var wait time.Duration
	for {
		if !pause(ctx, wait) {
			return ctx.Err()
		}
		err := c.Renew(ctx, addr, build)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		report(err)
		leaf := c.cfg.Identity.Chain()[0]
		life, left := leaf.NotAfter.Sub(leaf.NotBefore), time.Until(leaf.NotAfter)
		if err == nil {
			wait = left - life*2/3
		} else {
			wait = left / 20
		}
		wait = min(max(wait, time.Second), 24*time.Hour)
		wait -= rand.N(wait / 10) // nodes of one rollout do not come together for ever
	}
}
