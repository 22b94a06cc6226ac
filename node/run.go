package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/causeway-mesh/causeway/coordinator/api"
	"github.com/causeway-mesh/causeway/geo"
	"github.com/causeway-mesh/causeway/mesh/gossip"
	"github.com/causeway-mesh/causeway/mesh/identity"
	"github.com/causeway-mesh/causeway/node/config"
	"github.com/causeway-mesh/causeway/node/obs"
)

// membership is DATA/node.json: where the node belongs. Identity and keys are files of their own.
type membership struct {
	Mesh    string   `json:"mesh"`
	Cluster string   `json:"cluster"`
	Node    string   `json:"node"`
	Servers []string `json:"servers"`
}

const membershipFile = "node.json"

// JoinOptions are the flags of `causeway node join`.
type JoinOptions struct {
	Token     string
	Server    string // base URL of a coordinator, https; several separated by commas
	Data      string
	Advertise string // host:port of the mesh port as others reach it
	Name      string // wanted node id; "" = the coordinator chooses
	Version   string
	Log       zerolog.Logger
}

// Join spends a join token and keeps the identity in the data directory. A directory that already
// holds one is refused before the token is shown to anybody.
func Join(ctx context.Context, o JoinOptions) error {
	if have, err := readMembership(o.Data); err == nil {
		return fmt.Errorf("%s already holds node %s of mesh %s; start it with `causeway node run`, or give another directory with --data", o.Data, have.Node, have.Mesh)
	} else if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(o.Data, 0o700); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	servers := strings.Split(o.Server, ",")
	j, err := api.Join(ctx, api.JoinConfig{Servers: servers, Token: o.Token, Node: o.Name, Addr: o.Advertise, Build: o.Version})
	if err != nil {
		return err
	}
	if err := j.Identity.Save(o.Data); err != nil {
		return fmt.Errorf("keep the new identity: %w", err)
	}
	b, err := json.MarshalIndent(membership{Mesh: j.Mesh, Cluster: j.Cluster, Node: j.Node, Servers: servers}, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(o.Data, membershipFile), append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("keep the membership: %w", err)
	}
	o.Log.Info().Str("node", j.Node).Str("mesh", j.Mesh).Str("region", j.Region).Str("roles", j.Roles.String()).Msg("joined")
	return nil
}

func readMembership(dir string) (membership, error) {
	var m membership
	path := filepath.Join(dir, membershipFile)
	b, err := os.ReadFile(path)
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return m, fmt.Errorf("read %s: %w", path, err)
	}
	return m, nil
}

// Options are what `causeway node run` gives.
type Options struct {
	Settings config.Node
	Servers  []string // coordinators; none = those the node joined at
	Log      zerolog.Logger
	Version  string
	// Started, if set, is called once when the listeners are open, with their addresses.
	Started func(client, mesh, ops string)
}

// Run runs the node of a data directory until ctx ends, then drains. It opens every port first, so
// that one in use is told before anything else happens.
func Run(ctx context.Context, o Options) error {
	defer newHeadroom().release()
	s := o.Settings
	if err := s.Validate(); err != nil {
		return fmt.Errorf("configuration:\n%w", err)
	}
	member, err := readMembership(s.Data)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s holds no node identity: run `causeway node join --token T --server URL --data %s` first", s.Data, s.Data)
	} else if err != nil {
		return err
	}
	id, err := identity.Load(s.Data)
	if err != nil {
		return fmt.Errorf("load identity: %w", err)
	}
	if self := id.Self(); self.Mesh != member.Mesh || string(self.Node) != member.Node {
		return fmt.Errorf("%s: the certificate is of node %s in mesh %s, %s says node %s in mesh %s: this directory mixes two nodes", s.Data, self.Node, self.Mesh, membershipFile, member.Node, member.Mesh)
	}
	if err := checkRoles(s, id.Self()); err != nil {
		return err
	}
	servers := o.Servers
	if len(servers) == 0 {
		servers = member.Servers
	}
	client, err := api.NewClient(api.Config{Servers: servers, Identity: id})
	if err != nil {
		return err
	}
	defer client.Close()
	p, err := openPorts(s, id.Self())
	if err != nil {
		return err
	}
	defer p.close()
	if s.Advertise == "" {
		s.Advertise = p.mesh.LocalAddr().String()
	}
	locator, err := newLocator(s.Geo, o.Log)
	if err != nil {
		return err
	}
	metrics, err := obs.NewRegistry(o.Version)
	if err != nil {
		return err
	}
	if err := obs.NewLocator(metrics.Process(), locator.Stats); err != nil {
		return err
	}
	n, err := New(Config{
		Settings: s, Identity: id, Watcher: client, Mesh: p.mesh, Client: p.client, HTTP3: p.http3, Locator: locator, Profile: gossip.WAN,
		Registry: metrics.Node(member.Node, id.Self().Region), Version: o.Version, Log: o.Log,
		Renew: func(ctx context.Context) error { return client.Renew(ctx, s.Advertise, o.Version) },
	})
	if err != nil {
		return err
	}
	if o.Started != nil {
		o.Started(p.addrs())
	}
	ops := &http.Server{Handler: n.Ops(metrics.Handler()), ReadHeaderTimeout: 10 * time.Second}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := ops.Serve(p.ops); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve operations: %w", err)
		}
		return nil
	})
	g.Go(func() error { return locator.Run(gctx) })
	g.Go(func() error {
		// Tell the coordinator where this node is reached now; it also renews a certificate that a long
		// stop has let grow old.
		if err := client.Renew(gctx, s.Advertise, o.Version); err != nil && gctx.Err() == nil {
			o.Log.Warn().Err(err).Msg("address not announced; the coordinator knows the one from before")
			return nil
		}
		return id.Save(s.Data)
	})
	g.Go(func() error {
		defer ops.Close() // health answers to the very end
		return n.Run(gctx)
	})
	err = g.Wait()
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return nil
	}
	return err
}

// checkRoles refuses roles that the certificate does not grant: nobody would accept them.
func checkRoles(s config.Node, self identity.Peer) error {
	for _, name := range s.Roles {
		r, err := identity.ParseRole(name)
		if err != nil {
			return fmt.Errorf("roles: %w", err)
		}
		if !self.Roles.Has(r) {
			return fmt.Errorf("roles: this node was joined as %s, not %s; make a token with that role and join again", self.Roles, name)
		}
	}
	if s.Region != "" && s.Region != self.Region {
		return fmt.Errorf("region: this node was joined in %s, not %s; a region is set by the join token", self.Region, s.Region)
	}
	return nil
}

func newLocator(g config.Geo, log zerolog.Logger) (*geo.Locator, error) {
	cfg := geo.Config{City: g.City, Country: g.Country, Log: log}
	for i, o := range g.Overrides {
		p, err := netip.ParsePrefix(o.CIDR)
		if err != nil {
			return nil, fmt.Errorf("geo.overrides[%d]: %w", i, err)
		}
		c, err := geo.ParseCountry(o.Country)
		if err != nil {
			return nil, fmt.Errorf("geo.overrides[%d]: %w", i, err)
		}
		cfg.Overrides = append(cfg.Overrides, geo.Override{Prefix: p, Country: c})
	}
	return geo.NewLocator(cfg)
}

// ports are a node's listeners.
type ports struct {
	mesh   net.PacketConn
	client net.Listener
	http3  net.PacketConn
	ops    net.Listener
}

func openPorts(s config.Node, self identity.Peer) (p *ports, err error) {
	p = &ports{}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	if p.mesh, err = net.ListenPacket("udp", s.Mesh); err != nil {
		return nil, portError("mesh", "--mesh", s.Mesh, err)
	}
	if p.ops, err = net.Listen("tcp", s.Ops); err != nil {
		return nil, portError("operations", "--ops", s.Ops, err)
	}
	if !self.Roles.Has(identity.RoleEdge) {
		return p, nil
	}
	if p.client, err = net.Listen("tcp", s.Listen); err != nil {
		return nil, portError("client API", "--listen", s.Listen, err)
	}
	if s.TLS.Mode != "off" {
		if p.http3, err = net.ListenPacket("udp", p.client.Addr().String()); err != nil {
			return nil, portError("client API over HTTP/3", "--listen", s.Listen, err)
		}
	}
	return p, nil
}

// portError says which port is taken and which flag names another.
func portError(what, flag, addr string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("the %s port %s is in use by another process; stop it or name another with %s", what, addr, flag)
	}
	if errors.Is(err, syscall.EACCES) {
		return fmt.Errorf("the %s port %s needs a privilege that this user lacks (CAP_NET_BIND_SERVICE); name one above 1024 with %s", what, addr, flag)
	}
	return fmt.Errorf("open the %s port %s: %w; name another with %s", what, addr, err, flag)
}

func (p *ports) addrs() (client, mesh, ops string) {
	if p.client != nil {
		client = p.client.Addr().String()
	}
	return client, p.mesh.LocalAddr().String(), p.ops.Addr().String()
}

// close releases what nobody has taken over; closing twice does no harm.
func (p *ports) close() {
	for _, l := range []net.Listener{p.client, p.ops} {
		if l != nil {
			l.Close()
		}
	}
	for _, c := range []net.PacketConn{p.mesh, p.http3} {
		if c != nil {
			c.Close()
		}
	}
}
