package cli

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/causeway-mesh/causeway/coordinator/api"
	"github.com/causeway-mesh/causeway/coordinator/state"
	"github.com/causeway-mesh/causeway/mesh/identity"
	"github.com/causeway-mesh/causeway/node/config"
)

// thisNode checks the node that --config, --data or the environment describe.
func (d *doctor) thisNode(ctx context.Context) {
	given := d.cmd.Flags().Changed("config") || d.cmd.Flags().Changed("data")
	n, err := config.Load(d.node.file, os.LookupEnv)
	if d.cmd.Flags().Changed("data") {
		n.Data = d.node.node.Data
	}
	if _, serr := os.Stat(filepath.Join(n.Data, "node.json")); !given && err == nil && serr != nil {
		return // there is none
	}
	if err == nil {
		err = n.Validate()
	}
	if err != nil {
		d.say("node", "configuration", checkFail, "correct the named fields", "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
		return
	}
	d.say("node", "configuration", checkOK, "", "valid")
	if n.Geo.City != "" || n.Geo.Country != "" {
		d.geoAge(n.Geo)
	}
	d.disk("node", n.Data)
	id, err := identity.Load(n.Data)
	if err != nil {
		d.say("node", "identity", checkFail, "causeway node join --token TOKEN --server URL --data "+n.Data, "%s", err)
	} else {
		self := id.Self()
		d.certificate("node", "certificate", self.NotAfter, fmt.Sprintf("node %s, region %s, %s", self.Node, self.Region, self.Roles), "see the node's log for why it was not renewed; once it has ended, join again with a new token")
	}
	if d.running(ctx, n.Ops) {
		return
	}
	d.port("node", "ops port", "tcp", n.Ops)
	d.port("node", "mesh port", "udp", n.Mesh)
	d.port("node", "client port", "tcp", n.Listen)
	if n.TLS.Mode != "off" {
		d.port("node", "HTTP/3 port", "udp", n.Listen)
	}
}

// running asks the node itself, when it runs: then its ports are taken by right.
func (d *doctor) running(ctx context.Context, ops string) bool {
	if host, port, err := net.SplitHostPort(ops); err == nil && host == "" {
		ops = net.JoinHostPort("127.0.0.1", port)
	}
	return d.ready(ctx, "node", "http://"+ops)
}

// ready reads /readyz?verbose; false when nothing answers there.
func (d *doctor) ready(ctx context.Context, part, base string) bool {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/readyz?verbose", nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusServiceUnavailable {
		return false
	}
	var bad []string
	for line := range strings.Lines(string(b)) {
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), "[-] "); ok {
			bad = append(bad, text)
		}
	}
	if resp.StatusCode != http.StatusOK {
		d.say(part, "readiness", checkFail, "see the log, and "+base+"/readyz?verbose", "not ready: %s", strings.Join(bad, "; "))
	} else {
		d.say(part, "readiness", checkOK, "", "ready at %s", base)
	}
	return true
}

// port tries to listen where the node would.
func (d *doctor) port(part, check, network, addr string) {
	var err error
	if network == "udp" {
		var c net.PacketConn
		if c, err = net.ListenPacket(network, addr); err == nil {
			err = c.Close()
		}
	} else {
		var l net.Listener
		if l, err = net.Listen(network, addr); err == nil {
			err = l.Close()
		}
	}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		d.say(part, check, checkFail, "stop the process that has it (ss -lnp), or choose another", "%s %s is in use", network, addr)
	case err != nil:
		d.say(part, check, checkFail, "choose an address of this machine that this user may listen on", "%s %s: %s", network, addr, err)
	default:
		d.say(part, check, checkOK, "", "%s %s is free", network, addr)
	}
}

func (d *doctor) certificate(part, check string, end time.Time, whose, fix string) {
	left := time.Until(end)
	switch {
	case left <= 0:
		d.say(part, check, checkFail, fix, "%s: ended %s ago", whose, span(-left))
	case left < certWarnLeft:
		d.say(part, check, checkWarn, fix, "%s: ends in %s, it should have been renewed", whose, span(left))
	default:
		d.say(part, check, checkOK, "", "%s: ends in %s", whose, span(left))
	}
}

// coordinators checks the cluster that the command would talk to.
func (d *doctor) coordinators(ctx context.Context) {
	c, t, err := d.a.client()
	if err != nil {
		if f := explain(err); f.code != exitUnavailable {
			d.say("coordinator", "target", checkFail, f.next, "%s", f.Error())
			return
		}
		d.say("coordinator", "target", checkSkip, "", "neither --server nor CAUSEWAY_SERVER is set and no dev mesh runs here")
		d.port("dev", "edge port", "tcp", "127.0.0.1:8080")
		d.port("dev", "admin port", "tcp", "127.0.0.1:7700")
		d.disk("dev", devDir)
		return
	}
	defer c.Close()
	before := time.Now()
	health, err := c.Do(ctx, api.Call{Method: http.MethodGet, Path: "/v1/health/live"})
	if err != nil {
		f := explain(t.unreached(err))
		d.say("coordinator", "reachable", checkFail, f.next, "%s: %s", strings.Join(t.servers, ", "), reached(ctx, err))
		return
	}
	took := time.Since(before)
	d.say("coordinator", "reachable", checkOK, "", "%s answered in %s", strings.Join(t.servers, ", "), millis(float64(took.Microseconds())/1000))
	d.clock(health.Header.Get("Date"), before, took)
	if t.dev != nil {
		d.disk("coordinator", t.dev.dir)
		d.ready(ctx, "coordinator", t.servers[0])
	}
	d.cluster(ctx, c)
	d.nodes(ctx, c)
	if d.providers {
		d.reachProviders(ctx, c)
	}
}

// clock compares with the coordinator's Date header, which has whole seconds.
func (d *doctor) clock(date string, before time.Time, took time.Duration) {
	theirs, err := http.ParseTime(date)
	if err != nil {
		d.say("coordinator", "clock", checkSkip, "", "it sent no date")
		return
	}
	// Theirs was cut to the second: the truth lies in [theirs, theirs+1s).
	off := theirs.Add(time.Second / 2).Sub(before.Add(took / 2)).Abs()
	fix := "let chrony or systemd-timesyncd set the clock, here and there"
	switch {
	case off > clockFail:
		d.say("coordinator", "clock", checkFail, fix, "%s apart: certificates and limits will misbehave", off.Round(time.Second))
	case off > clockWarn:
		d.say("coordinator", "clock", checkWarn, fix, "%s apart", off.Round(time.Second))
	default:
		d.say("coordinator", "clock", checkOK, "", "agrees to the second")
	}
}

func (d *doctor) refused(check string, err error) {
	f := explain(err)
	result := checkFail
	if f.code == exitDenied {
		result = checkSkip
	}
	d.say("coordinator", check, result, f.next, "%s", last(err))
}

func (d *doctor) cluster(ctx context.Context, c *api.Client) {
	got, err := c.Do(ctx, api.Call{Method: http.MethodGet, Path: "/v1/cluster"})
	if err != nil {
		d.refused("leader", err)
		return
	}
	var info api.ClusterInfo
	if err := api.Decode(got, &info); err != nil {
		d.refused("leader", err)
		return
	}
	d.say("coordinator", "leader", checkOK, "", "%s, term %d, index %d", info.Leader, info.Term, info.Index)
	got, err = c.Do(ctx, api.Call{Method: http.MethodGet, Path: "/v1/cluster/members"})
	if err != nil {
		d.refused("members", err)
		return
	}
	var list struct{ Items []api.Member }
	if err := api.Decode(got, &list); err != nil {
		d.refused("members", err)
		return
	}
	d.quorum(info, list.Items)
}

func (d *doctor) quorum(info api.ClusterInfo, members []api.Member) {
	var offline, split []string
	hash := map[uint64]string{}
	voters := 0
	for _, m := range members {
		switch {
		case !m.Online:
			offline = append(offline, m.ID)
		case hash[m.Index] == "":
			hash[m.Index] = m.FSMHash
		case m.FSMHash != "" && hash[m.Index] != m.FSMHash:
			split = append(split, m.ID)
		}
		if m.Voter && m.Online {
			voters++
		}
	}
	spare := voters - (info.Voters/2 + 1)
	switch {
	case len(split) > 0:
		d.say("coordinator", "members", checkFail, "stop "+strings.Join(split, ", ")+", remove its data directory and join it again", "%s has another state at the same index", strings.Join(split, ", "))
	case len(offline) > 0:
		d.say("coordinator", "members", checkWarn, "start them again: causeway coordinator run --data DIR", "%s offline; %d more may fail", strings.Join(offline, ", "), max(0, spare))
	case len(members) == 2:
		d.say("coordinator", "members", checkWarn, "join a third one", "two members stop when either fails")
	default:
		d.say("coordinator", "members", checkOK, "", "%d online, %d may fail", len(members), max(0, spare))
	}
}

func (d *doctor) nodes(ctx context.Context, c *api.Client) {
	got, err := c.Do(ctx, api.Call{Method: http.MethodGet, Path: "/v1/nodes"})
	if err != nil {
		d.refused("nodes", err)
		return
	}
	var list struct{ Items []state.Node }
	if err := api.Decode(got, &list); err != nil {
		d.refused("nodes", err)
		return
	}
	results, edges, exits := []string{checkOK}, 0, 0
	for _, n := range list.Items {
		if n.State == state.NodeRevoked {
			continue
		}
		roles := strings.Join(n.Roles, ",")
		if strings.Contains(roles, "edge") {
			edges++
		}
		if strings.Contains(roles, "exit") {
			exits++
		}
		end := time.Unix(n.NotAfter, 0)
		if n.NotAfter != 0 && time.Until(end) < certWarnLeft {
			d.certificate("coordinator", "node "+n.ID, end, "its certificate", "see why it does not renew, or revoke it: causeway node revoke "+n.ID)
			results = append(results, d.found[len(d.found)-1].Result)
		}
	}
	if worst(results...) == checkOK {
		d.say("coordinator", "node certificates", checkOK, "", "all of %d are fresh", len(list.Items))
	}
	if edges == 0 || exits == 0 {
		d.say("coordinator", "nodes", checkWarn, "causeway node token --region REGION --role edge,exit", "%d edges, %d exits: no request can pass", edges, exits)
	} else {
		d.say("coordinator", "nodes", checkOK, "", "%d edges, %d exits", edges, exits)
	}
}

// reachProviders connects to providers' hosts and no further: no request, no key.
func (d *doctor) reachProviders(ctx context.Context, c *api.Client) {
	got, err := c.Do(ctx, api.Call{Method: http.MethodGet, Path: "/v1/providers"})
	if err != nil {
		d.refused("providers", err)
		return
	}
	var list struct{ Items []state.Provider }
	if err := api.Decode(got, &list); err != nil {
		d.refused("providers", err)
		return
	}
	for _, p := range list.Items {
		took, err := connect(ctx, p.BaseURL)
		if err != nil {
			d.say("provider", p.ID, checkFail, "check base_url, DNS and firewall; what counts is the exit's machine", "%s: %s", p.BaseURL, err)
			continue
		}
		d.say("provider", p.ID, checkOK, "", "connected to %s in %s", p.BaseURL, millis(float64(took.Microseconds())/1000))
	}
}

func connect(ctx context.Context, base string) (time.Duration, error) {
	u, err := url.Parse(base)
	if err != nil {
		return 0, err
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	start := time.Now()
	addr := net.JoinHostPort(u.Hostname(), port)
	var conn net.Conn
	if u.Scheme == "https" {
		conn, err = (&tls.Dialer{Config: &tls.Config{MinVersion: tls.VersionTLS12}}).DialContext(ctx, "tcp", addr)
	} else {
		conn, err = (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	}
	if err != nil {
		return 0, err
	}
	return time.Since(start), conn.Close()
}
