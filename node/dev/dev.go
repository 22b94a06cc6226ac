// Package dev runs a whole mesh in one process on loopback: a coordinator, an edge and an exit per
// region, each its own node, and fake providers. The parts are the real ones; only the machine is one.
package dev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/causeway-mesh/causeway/coordinator"
	"github.com/causeway-mesh/causeway/coordinator/api"
	"github.com/causeway-mesh/causeway/coordinator/consensus"
	"github.com/causeway-mesh/causeway/coordinator/manifest"
	"github.com/causeway-mesh/causeway/coordinator/state"
	"github.com/causeway-mesh/causeway/geo"
	"github.com/causeway-mesh/causeway/mesh/gossip"
	"github.com/causeway-mesh/causeway/mesh/identity"
	"github.com/causeway-mesh/causeway/node"
	"github.com/causeway-mesh/causeway/node/config"
	"github.com/causeway-mesh/causeway/node/obs"
)

// Options are the flags of `causeway dev`.
type Options struct {
	File      string // mesh.yaml that is the whole state; "" = the built-in mesh
	Data      string // ./.causeway/dev
	Listen    string // client API of the first edge; the others take the next free ports. 127.0.0.1:8080
	Admin     string // admin API; 127.0.0.1:7700
	Out       io.Writer
	LookupEnv func(string) (string, bool)
	Log       zerolog.Logger
	LogLevel  string
	Version   string
}

func (o Options) withDefaults() Options {
	if o.Data == "" {
		o.Data = "./.causeway/dev"
	}
	if o.Listen == "" {
		o.Listen = "127.0.0.1:8080"
	}
	if o.Admin == "" {
		o.Admin = "127.0.0.1:7700"
	}
	if o.LookupEnv == nil {
		o.LookupEnv = os.LookupEnv
	}
	if o.Out == nil {
		o.Out = io.Discard
	}
	return o
}

// member is one node of the process.
type member struct {
	node   *node.Node
	region string
	role   identity.Role
	url    string // client API, edges only
}

// mesh is a running dev mesh.
type mesh struct {
	opt     Options
	coord   *coordinator.Server
	client  *api.Client
	locator *geo.Locator
	metrics *obs.Registry
	fakes   *fakes
	members []member
	ready   readyFile
	failed  chan error
}

// Run starts the mesh, prints a short block for people when it is ready, and serves until ctx ends.
func Run(ctx context.Context, o Options) error {
	m := &mesh{opt: o.withDefaults(), failed: make(chan error, 1)}
	return m.run(ctx)
}

func (m *mesh) run(ctx context.Context) error {
	o := m.opt
	if err := os.MkdirAll(o.Data, 0o700); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	readyPath := filepath.Join(o.Data, "ready.json")
	if err := os.Remove(readyPath); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the former ready.json: %w", err)
	}
	var err error
	if m.fakes, err = startFakes(zerolog.Nop(), m.fail); err != nil {
		return err
	}
	defer m.fakes.close()
	doc, err := m.document()
	if err != nil {
		return err
	}
	// Ports first: of all that can be wrong they are the likeliest.
	regions := regionsOf(doc)
	listeners, err := listen(o.Listen, len(regions))
	if err != nil {
		return err
	}
	defer func() {
		for _, l := range listeners {
			l.Close()
		}
	}()
	if m.locator, err = geo.NewLocator(geo.Config{Log: o.Log}); err != nil {
		return err
	}
	if m.metrics, err = obs.NewRegistry(o.Version); err != nil {
		return err
	}
	if err := obs.NewLocator(m.metrics.Process(), m.locator.Stats); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if m.coord, err = coordinator.New(ctx, coordinator.Config{
		Dir: filepath.Join(o.Data, "coordinator"), Init: true, Mesh: "dev", ListenAPI: o.Admin, PlainAPI: true, ListenNodes: "127.0.0.1:0",
		Profile: consensus.Dev(), Dev: true, Tokens: m.ready.makeTokens(), Override: m.endpoint, Build: o.Version, Log: o.Log,
	}); err != nil {
		return err
	}
	if err := obs.NewCoordinator(m.metrics.Coordinator(m.coord.ID()), m.coord.Stats); err != nil {
		return errors.Join(err, m.coord.Close())
	}
	// The coordinator outlives the nodes: they say goodbye to it.
	control, stopControl := context.WithCancel(context.WithoutCancel(ctx))
	defer stopControl()
	coordDone := make(chan error, 1)
	go func() {
		err := m.coord.Run(control)
		m.fail(err)
		coordDone <- err
	}()
	if err := m.serve(ctx, doc, regions, listeners, readyPath); err != nil {
		stopControl()
		return errors.Join(err, <-coordDone)
	}
	stopControl()
	return <-coordDone
}

// fail stops the mesh with the first error of a part that runs by itself.
func (m *mesh) fail(err error) {
	if err == nil {
		return
	}
	select {
	case m.failed <- err:
	default:
	}
}

func (m *mesh) serve(ctx context.Context, doc state.Document, regions []state.Region, listeners []net.Listener, readyPath string) error {
	start, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if err := m.coord.WaitReady(start); err != nil {
		return fmt.Errorf("coordinator: %w", err)
	}
	var err error
	if m.client, err = api.NewClient(api.Config{Servers: []string{m.coord.APIURL()}, Token: m.coord.AdminToken()}); err != nil {
		return err
	}
	defer m.client.Close()
	if err := m.apply(start, doc); err != nil {
		return err
	}
	for i, r := range regions {
		for _, role := range [...]identity.Role{identity.RoleEdge, identity.RoleExit} {
			if err := m.add(start, r, role, listeners[i]); err != nil {
				return err
			}
		}
	}
	nodes, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	g, gctx := errgroup.WithContext(nodes)
	for _, x := range m.members {
		g.Go(func() error { return x.node.Run(gctx) })
	}
	go func() {
		<-gctx.Done()
		m.fail(context.Cause(gctx))
	}()
	err = m.waitReady(start)
	if err == nil {
		err = m.announce(doc, readyPath)
	}
	if err == nil {
		select {
		case <-ctx.Done():
		case err = <-m.failed:
		}
		if rerr := os.Remove(readyPath); rerr != nil && err == nil {
			err = rerr
		}
	}
	stop()
	return errors.Join(err, g.Wait())
}

// document is the whole state: the file's, or the built-in one.
func (m *mesh) document() (state.Document, error) {
	o := m.opt
	if o.File == "" {
		secret, err := keptSecret(filepath.Join(o.Data, "api.key"))
		if err != nil {
			return state.Document{}, err
		}
		m.ready.APIKey = secret
		return builtin(m.fakes, o.LookupEnv, secret), nil
	}
	data, err := os.ReadFile(o.File)
	if err != nil {
		return state.Document{}, fmt.Errorf("read %s: %w", o.File, err)
	}
	d, err := manifest.Parse(o.File, data)
	if err != nil {
		return state.Document{}, err
	}
	if err := d.Resolve(manifest.Sources{Env: o.LookupEnv, ReadFile: os.ReadFile, Dev: true}); err != nil {
		return state.Document{}, err
	}
	if len(d.Keys) > 0 {
		m.ready.APIKey = d.Keys[0].Secret
	}
	return d.Document.Whole(), nil
}

// regionsOf are the regions that get an edge and an exit: the built-in ones and those of the file.
func regionsOf(doc state.Document) []state.Region {
	out := state.Builtin()
	for _, r := range doc.Regions {
		if i := slices.IndexFunc(out, func(b state.Region) bool { return b.ID == r.ID }); i >= 0 {
			out[i] = r
		} else {
			out = append(out, r)
		}
	}
	return out
}

// listen opens the client API's ports: the given one, then the next free ones.
func listen(first string, n int) ([]net.Listener, error) {
	host, portText, err := net.SplitHostPort(first)
	if err != nil {
		return nil, fmt.Errorf("--listen %q is not host:port", first)
	}
	l, err := net.Listen("tcp", first)
	if err != nil {
		return nil, fmt.Errorf("the client API cannot listen on %s: %w; name another address with --listen", first, errors.Unwrap(err))
	}
	out := []net.Listener{l}
	port := l.Addr().(*net.TCPAddr).Port
	for len(out) < n {
		if portText == "0" {
			port = -1 // ephemeral, each of them
		}
		port++
		if port > 65535 {
			port = 0
		}
		if l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port))); err == nil {
			out = append(out, l)
		} else if port == 0 {
			return nil, fmt.Errorf("no free port for a client API: %w", err)
		}
	}
	return out, nil
}

// add makes one node with an identity of its own.
func (m *mesh) add(ctx context.Context, r state.Region, role identity.Role, client net.Listener) error {
	name := role.String() + "-" + r.ID
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("mesh port of %s: %w", name, err)
	}
	who := coordinator.Enrolment{ID: name, Region: r.ID, Roles: role, Addr: conn.LocalAddr().String(), Build: m.opt.Version}
	id, err := m.coord.Enroll(ctx, who)
	if err != nil {
		conn.Close()
		return err
	}
	watcher, err := api.NewClient(api.Config{Servers: []string{m.coord.NodesURL()}, Identity: id})
	if err != nil {
		return err
	}
	dir := filepath.Join(m.opt.Data, "nodes", name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	s := config.Default()
	s.Data, s.TLS.Mode, s.Drain = dir, "off", 5*time.Second
	s.TrustedProxies = []string{"127.0.0.0/8", "::1/128"}
	cfg := node.Config{
		Settings: s, Identity: id, Watcher: watcher, Mesh: conn, Locator: m.locator, Profile: gossip.Local, Dev: true, Version: m.opt.Version,
		Registry: m.metrics.Node(name, r.ID), Log: m.opt.Log,
		Renew: func(ctx context.Context) error { return watcher.Renew(ctx, "", m.opt.Version) },
	}
	x := member{region: r.ID, role: role}
	if role == identity.RoleEdge {
		cfg.Client = client
		x.url = "http://" + client.Addr().String()
	}
	if x.node, err = node.New(cfg); err != nil {
		return err
	}
	m.members = append(m.members, x)
	return nil
}

// waitReady waits until every edge is connected to every exit.
func (m *mesh) waitReady(ctx context.Context) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		all := true
		for _, x := range m.members {
			all = all && x.node.Settled()
		}
		if all {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the mesh did not become ready: %w", context.Cause(ctx))
		case err := <-m.failed:
			return err
		case <-tick.C:
		}
	}
}
