// Package coordinator is one coordinator process: it keeps the replicated truth of a mesh with its
// peers, and serves it to people and to nodes. See DESIGN.md beside it.
package coordinator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/rs/zerolog"

	"github.com/causeway-mesh/causeway/coordinator/api"
	"github.com/causeway-mesh/causeway/coordinator/consensus"
	"github.com/causeway-mesh/causeway/mesh/identity"
)

// Config makes a Server. It is not changed after New.
type Config struct {
	Dir string // data directory, mode 0700; required

	// One of Init and Join for an empty Dir; both are ignored with one that holds a cluster already,
	// so that a service may always be started with the same flags.
	Init bool   // make a new cluster
	Mesh string // its name: 1-63 of a-z, 0-9, "-", "."; "" = causeway
	Join *Join  // become a member of an existing cluster

	ID     string // member id; "" = generated, then kept in Dir
	Region string // stands in the certificate; "" = control

	ListenAPI   string // admin API, host:port; "" = :7700
	PlainAPI    bool   // admin API without TLS: loopback addresses only
	ListenNodes string // a second listener of the same API, always TLS; for dev, where the first is plain
	ListenRaft  string // other coordinators, mutual TLS; "" = a cluster of one that nobody can join
	Advertise   string // host that others reach this coordinator at; "" = the listeners' own, or an interface's

	Profile consensus.Profile
	Dev     bool    // short literal key secrets are fine
	Tokens  []Token // further admin tokens; dev has officer1, officer2, auditor, operator
	// Override answers paths in place of this server, nil for the others: in dev one listener serves the
	// nodes of the process too.
	Override func(path string) http.Handler
	Extra    http.Handler // what is served outside /v1, /livez and /readyz; may be nil
	// Explain answers GET /v1/routes:explain, see api.ServerConfig; nil = not in this version.
	Explain func(v *api.NodeView, q url.Values) (json.RawMessage, *api.Problem)
	Build   string
	Log     zerolog.Logger

	// Seams for whole-mesh simulations; the zero values are the real things.
	Store  consensus.Store
	Listen func(network, addr string) (net.Listener, error)
	Dial   func(ctx context.Context, network, addr string) (net.Conn, error)
	Stall  time.Duration // of a log write before the transport is fenced; 0 = 2 s
}

// Join says how to become a member.
type Join struct {
	Token   string   // cwj1.…, made for the role coordinator
	Servers []string // admin APIs of the cluster, https
}

// Token is an admin token with its role.
type Token struct {
	Name   string
	Role   api.Role
	Tenant string // of a tenant-admin
	Secret string
}

func (c Config) withDefaults() (Config, error) {
	if c.Dir == "" {
		return c, errors.New("coordinator: a data directory is required (--data)")
	}
	if c.Init && c.Join != nil {
		return c, errors.New("coordinator: --init makes a new cluster and a join token enters an existing one: give one of them")
	}
	if c.Mesh == "" {
		c.Mesh = "causeway"
	}
	if c.Region == "" {
		c.Region = "control"
	}
	if c.ListenAPI == "" {
		c.ListenAPI = ":7700"
	}
	if c.Profile.Heartbeat == 0 {
		c.Profile = consensus.Local()
	}
	if c.Listen == nil {
		c.Listen = net.Listen
	}
	if c.Dial == nil {
		c.Dial = (&net.Dialer{Timeout: 2 * time.Second, KeepAlive: 15 * time.Second}).DialContext
	}
	if c.PlainAPI {
		host, _, err := net.SplitHostPort(c.ListenAPI)
		if ip := net.ParseIP(host); err != nil || host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return c, fmt.Errorf("coordinator: the admin API is served without TLS on loopback addresses only, not on %q", c.ListenAPI)
		}
	}
	probe := identity.Peer{Mesh: c.Mesh, Region: c.Region, Node: "x", Roles: identity.RoleCoordinator}
	if c.ID != "" {
		probe.Node = identity.NodeID(c.ID)
	}
	if err := probe.Validate(); err != nil {
		return c, fmt.Errorf("coordinator: %w", err)
	}
	return c, nil
}

// reach is the address that others use for a listener.
func (c Config) reach(l net.Listener) string {
	addr := l.Addr().String()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if c.Advertise != "" {
		if h, _, err := net.SplitHostPort(c.Advertise); err == nil {
			return net.JoinHostPort(h, port)
		}
		return net.JoinHostPort(c.Advertise, port)
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsUnspecified() {
		return addr
	}
	return net.JoinHostPort(interfaceAddr(), port)
}

// interfaceAddr is the first address that others could use; loopback when there is none.
func interfaceAddr() string {
	addrs, err := net.InterfaceAddrs()
	if err == nil {
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() && n.IP.To4() != nil {
				return n.IP.String()
			}
		}
	}
	return "127.0.0.1"
}

// hosts are the names that the admin API's certificate carries besides the mesh identity.
func (c Config) hosts(addrs ...string) []string {
	out := []string{"localhost", "127.0.0.1", "::1"}
	for _, a := range addrs {
		if h, _, err := net.SplitHostPort(a); err == nil && h != "" && h != "localhost" && h != "127.0.0.1" && h != "::1" {
			out = append(out, h)
		}
	}
	return out
}
